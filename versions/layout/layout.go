// Package layout names what a base has in it: the directory in which a server
// keeps the versions of a root tree. Package versions writes it, /init reads it.
// Pure functions.
package layout

import (
	"fmt"
	"strings"
)

// The names in a base.
const (
	// Dir holds the versions.
	Dir = "versions"
	// Current is the link to the version that nodes boot next.
	Current = "current"
	// Staging is the tree that becomes the next version.
	Staging = "staging"
)

// maxID is the longest ID, in bytes: it becomes part of file names and of mount
// sources.
const maxID = 64

// An IDError is a text that cannot be the ID of a version.
type IDError struct{ ID string }

func (e *IDError) Error() string {
	return fmt.Sprintf("version %q: an ID has 1 to %d letters, digits, dots, dashes or underscores, and begins with a letter or a digit", e.ID, maxID)
}

// CheckID returns an *IDError for what cannot be the ID of a version.
func CheckID(id string) error {
	if id == "" || len(id) > maxID {
		return &IDError{id}
	}
	for i := range len(id) {
		c := id[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && (i == 0 || c != '.' && c != '-' && c != '_') {
			return &IDError{id}
		}
	}
	return nil
}

// A LinkError is a current that leads to no version.
type LinkError struct{ Target string }

func (e *LinkError) Error() string {
	return fmt.Sprintf("current leads to %q: it must be the relative link %s/ID", e.Target, Dir)
}

// ParseCurrent returns the ID that the target of current names, or a
// *LinkError.
func ParseCurrent(target string) (id string, err error) {
	id, ok := strings.CutPrefix(target, Dir+"/")
	if !ok || CheckID(id) != nil {
		return "", &LinkError{target}
	}
	return id, nil
}
