package layout

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// A BaseError says that a directory is not a tree but holds versions of one. It is
// an fs.ErrNotExist: a base has no init program.
type BaseError struct {
	// Current is what the link leads to, empty where there is none.
	Current string
	// IDs are the versions.
	IDs []string
}

func (e *BaseError) Error() string {
	return "it is a base with versions of a tree, not a tree"
}

func (e *BaseError) Unwrap() error { return fs.ErrNotExist }

// Pick is the ID of the version to boot: the wanted one, or without that the
// current one.
func (e *BaseError) Pick(wanted string) (string, error) {
	id := wanted
	if id == "" {
		if e.Current == "" {
			return "", errors.New("no version has been published: run sidustree publish on the server")
		}
		var err error
		if id, err = ParseCurrent(e.Current); err != nil {
			return "", fmt.Errorf("%w: run sidustree rollback on the server", err)
		}
	}
	if !slices.Contains(e.IDs, id) {
		have := "there is none"
		if len(e.IDs) > 0 {
			have = "there are " + strings.Join(e.IDs, ", ")
		}
		return "", fmt.Errorf("there is no version %s: %s", id, have)
	}
	return id, nil
}
