package union

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/overlay"
	"github.com/sidusboot/sidusboot/tree"
)

// upperTime is what a search through an upper layer may take that does not decide
// the boot.
const upperTime = 5 * time.Second

// importantFiles are those of the tree that a node must not have an old copy of.
var importantFiles = []string{
	"/var/lib/dpkg/status", "/var/lib/rpm/rpmdb.sqlite", "/usr/lib/sysimage/rpm/rpmdb.sqlite", "/etc/ld.so.cache",
	"/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow",
}

// HiddenFiles are the important files of the tree in lower that an upper layer hides,
// for a kernel's release.
func HiddenFiles(lower, upper, release string) []string {
	var names []string
	for _, name := range append(importantFiles, "/lib/modules/"+release+"/modules.dep") {
		if resolved, err := tree.At(lower).Resolve(name); err == nil {
			names = append(names, resolved)
		}
	}
	return overlay.ShadowedFiles(lower, upper, names...)
}

// RenamedDir is a directory of an upper layer that was renamed on another tree, or
// empty. What it shows on this one is not defined.
func RenamedDir(upper string) string {
	ctx, cancel := context.WithTimeout(context.Background(), upperTime)
	defer cancel()
	return overlay.RedirectedDir(ctx, upper)
}

// maxHidden is how many files are named.
const maxHidden = 5

// MountUsr mounts the tree's /usr over that of the union. It returns some of the
// files that the layer has changed in /usr, which cannot be seen any more. With an
// error the union's /usr stays.
func (b *Builder) MountUsr() (hidden []string, err error) {
	err = overlay.CheckMerged(b.Dir)
	if errors.Is(err, overlay.ErrNotMerged) {
		return nil, fmt.Errorf("%w: install usrmerge in the tree", err)
	}
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), upperTime)
	defer cancel()
	hidden = overlay.UpperFiles(ctx, b.Upper(), "/usr", maxHidden)
	// A bind mount is read-only as the mount is that it comes from.
	if err := b.System.Mount(b.Lower+"/usr", b.Dir+"/usr", "", unix.MS_BIND, ""); err != nil {
		return nil, fmt.Errorf("mount /usr: %w", err)
	}
	return hidden, nil
}
