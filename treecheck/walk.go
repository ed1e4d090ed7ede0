package treecheck

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/versions/layout"
)

// files looks at every file.
func (c *check) files(ctx context.Context) error {
	var whiteouts, auwhiteouts, capabilities, sockets, devices, files, dirs, mounts []string
	var top unix.Stat_t
	if err := unix.Stat(c.dir, &top); err != nil {
		return &fs.PathError{Op: "stat", Path: c.dir, Err: err}
	}
	err := filepath.WalkDir(c.dir, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path != c.dir {
			return nil // It was removed meanwhile.
		}
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		name := "/" + strings.TrimPrefix(strings.TrimPrefix(path, c.dir), "/")
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			return &fs.PathError{Op: "stat", Path: path, Err: err}
		}
		if st.Dev != top.Dev {
			mounts = append(mounts, name)
			return skip(entry)
		}
		if name == "/"+layout.Aside {
			return skip(entry) // No part of the tree: see inPlace.
		}
		if strings.HasPrefix(entry.Name(), ".wh.") {
			auwhiteouts = append(auwhiteouts, name)
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFCHR:
			if st.Rdev == 0 {
				whiteouts = append(whiteouts, name)
				return nil
			}
			fallthrough
		case unix.S_IFBLK:
			if !strings.HasPrefix(name, "/dev/") {
				devices = append(devices, name)
			}
		case unix.S_IFSOCK:
			sockets = append(sockets, name)
		case unix.S_IFDIR:
			if st.Mode&unix.S_IWOTH != 0 && st.Mode&unix.S_ISVTX == 0 {
				dirs = append(dirs, name)
			}
		case unix.S_IFREG:
			if st.Mode&unix.S_IWOTH != 0 {
				files = append(files, name)
			}
			if n, err := unix.Lgetxattr(path, "security.capability", nil); err == nil && n > 0 {
				capabilities = append(capabilities, name)
			}
		}
		return nil
	})
	c.add(Finding{Name: "mounts", Severity: Warning, Problem: "other file systems are mounted inside the tree: nodes do not see what is in them",
		Remedy: "unmount what a chroot left (/proc, /sys, /dev), or put the content into the tree's own file system"}, mounts...)
	c.add(Finding{Name: "whiteouts", Severity: Warning, Problem: "character devices 0:0, which overlayfs uses as marks of removed files: nodes see neither them nor the file of the same name in the tree",
		Remedy: "remove them: the tree was copied from an overlayfs layer"}, whiteouts...)
	c.add(Finding{Name: "aufs-whiteouts", Severity: Warning, Problem: "names that begin with .wh., which aufs uses itself",
		Remedy: "remove them if nodes use aufs"}, auwhiteouts...)
	c.add(Finding{Name: "file-capabilities", Severity: Warning, Problem: "programs with file capabilities, which NFS does not carry: they fail for users other than root",
		Remedy: "make them setuid root (dpkg-statoverride), or allow what they need in another way (ping: the sysctl net.ipv4.ping_group_range)"}, capabilities...)
	c.add(Finding{Name: "writable-files", Severity: Warning, Problem: "files that everybody may write: every user of a node can change what other users run there", Remedy: "chmod o-w"}, files...)
	c.add(Finding{Name: "writable-directories", Severity: Warning, Problem: "directories that everybody may write, without the sticky bit", Remedy: "chmod o-w, or +t"}, dirs...)
	c.add(Finding{Name: "sockets", Severity: Note, Problem: "sockets of programs that ran in the tree", Remedy: "remove them"}, sockets...)
	c.add(Finding{Name: "devices", Severity: Note, Problem: "device nodes outside of /dev", Remedy: "remove them unless a chroot in the tree needs them: nodes mount the tree with nodev"}, devices...)
	return err
}

// skip leaves out what is in a directory.
func skip(entry fs.DirEntry) error {
	if entry.IsDir() {
		return fs.SkipDir
	}
	return nil
}
