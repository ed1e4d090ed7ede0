package tree

import (
	"fmt"
	"hash/fnv"
)

// changing are files that change with what a tree holds: the stamp that sidustree
// renews, the databases of dpkg, rpm, pacman and apk.
var changing = [...]string{
	"/etc/sidusboot/stamp", "/var/lib/dpkg/status", "/var/lib/rpm/rpmdb.sqlite", "/usr/lib/sysimage/rpm/rpmdb.sqlite",
	"/var/lib/pacman/local", "/lib/apk/db/installed",
}

// Fingerprint is a text that is another one when the packages of the tree have
// changed, or its stamp: from size and time of modification, since to read the
// databases on each node would cost megabytes. It is empty where the tree has none
// of these files.
func (t Tree) Fingerprint() string {
	hash := fnv.New64a() // Of crypto/sha256 /init would be 200 kB larger.
	found := false
	for _, name := range changing {
		info, err := t.Stat(name)
		if err != nil {
			continue
		}
		found = true
		fmt.Fprintf(hash, "%s %d %d\n", name, info.Size(), info.ModTime().UnixNano())
	}
	if !found {
		return ""
	}
	return fmt.Sprintf("%016x", hash.Sum64())
}
