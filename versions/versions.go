// Package versions keeps the published versions of a root tree on the server.
//
// A base is a directory of one file system:
//
//	BASE/staging/        the tree that the administrator works in (apt, chroot)
//	BASE/versions/ID/    a published version; it never changes any more
//	BASE/current         a relative link, versions/ID: what nodes boot next
//	BASE/.sidustree/     a lock, and notes about each version
//
// A version is complete and on the disk before it gets its name, and has its
// name before current leads to it, each by one rename(2). So whatever ends a
// program in between, current leads to a whole version. What an ended program
// left has a name that begins with a dot, and the next one removes it.
//
// Nodes mount one version and keep it, so every file that a node uses stays
// what it was for as long as the version is there.
package versions

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

	notesDir = ".sidustree"
)

// Names of what is not finished. An ID cannot begin with a dot.
const (
	newPrefix  = ".new-"  // a version or a staging that is being made
	gonePrefix = ".gone-" // a version that is being removed
	linkPrefix = ".current-"
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
