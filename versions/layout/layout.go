// Package layout names what a server keeps for nodes: in a base, the directory in
// which it has the versions of a root tree, and in a tree that is changed in
// place. The packages versions and stamp write it, /init reads it. Pure functions.
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
	// Notes has a lock, and what is known of each version.
	Notes = ".sidustree"
)

// The names in a tree that is changed in place, beneath its root directory.
const (
	// Stamp is a file that is renewed after each change of the tree. Its text, of
	// which MaxStamp bytes count, is different each time: a node that reads another
	// text than before knows that the tree has changed. It is one line, TIME COUNTER
	// PID, TIME as in RFC 3339, for people; a node only compares. A tree without it
	// tells nothing.
	Stamp = "etc/sidusboot/stamp"
	// Aside is a directory of root's in which files that were replaced keep a name
	// for a while, so that nodes that have them open can go on reading them. It is
	// no part of the tree.
	Aside = ".sidusboot-aside"
)

// MaxStamp is how many bytes of a stamp count.
const MaxStamp = 128

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
