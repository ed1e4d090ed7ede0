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

import "github.com/sidusboot/sidusboot/versions/layout"

// notesDir is where the notes about versions are, and the lock.
const notesDir = layout.Notes

// Names of what is not finished. An ID cannot begin with a dot.
const (
	newPrefix  = ".new-"  // a version or a staging that is being made
	gonePrefix = ".gone-" // a version that is being removed
	linkPrefix = ".current-"
)
