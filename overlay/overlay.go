// Package overlay stacks two directories into one: the shared tree below, the
// node's own layer above. aufs is taken where the kernel has it, because it
// works with a tree that is updated in place; else overlayfs.
//
// Choose finds the kind that the kernel has, Opaque prepares the upper layer for
// overlayfs, Mount mounts the union and tests it. The package needs the module
// aufs or overlay, and reads /proc/filesystems. The file system of the upper layer
// must hold trusted.* attributes; the extended attributes of overlayfs in it begin
// with trusted.overlay.
package overlay

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// A Kind is a union file system.
type Kind string

// The kinds, named as the kernel names them.
const (
	Aufs    Kind = "aufs"
	Overlay Kind = "overlay"
)

// Layers are the directories of a union.
type Layers struct {
	// Lower is the tree, Upper what is written over it.
	Lower, Upper string
	// Work is overlayfs's own directory, on the file system of Upper.
	Work string
	// XIno is where aufs keeps its table of inode numbers, a file that does
	// not exist yet on a file system that can hold one (not NFS, xfs, btrfs).
	XIno string
	// Kept says that Upper outlives this boot, so that it may meet another
	// tree below it next time.
	Kept bool
	// Source names the mount in /proc/mounts. AppArmor and snapd want it to be
	// the upper's mount point.
	Source string
}

// ErrNone says that the kernel has neither kind.
var ErrNone = errors.New("the kernel has neither aufs nor overlayfs")

// A KindError says that the kernel has not the kind of union that was asked for.
type KindError struct {
	Kind Kind
	// Err says why its module was not loaded. It may be nil.
	Err error
}

func (e *KindError) Error() string {
	text := "the kernel has no " + string(e.Kind)
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

func (e *KindError) Unwrap() error { return e.Err }

// A System is what the choice and the mount need from their surroundings.
type System interface {
	// Load loads a kernel module.
	Load(module string) error
	// Has tells whether the kernel knows a file system by now.
	Has(fstype string) (bool, error)
	// Mount is mount(2).
	Mount(device, dir, fstype string, flags uintptr, data string) error
	// Unmount is umount2(2).
	Unmount(dir string) error
}

// Choose loads and returns the kind to use: want where it is not empty, else
// aufs before overlayfs.
func Choose(sys System, want Kind) (Kind, error) {
	kinds := []Kind{Aufs, Overlay}
	if want != "" {
		kinds = []Kind{want}
	}
	var errs []error
	for _, k := range kinds {
		loadErr := sys.Load(string(k))
		ok, err := sys.Has(string(k))
		if err != nil {
			return "", err
		}
		if ok {
			return k, nil
		}
		errs = append(errs, loadErr)
	}
	if want != "" {
		return "", fmt.Errorf("overlay: %w", &KindError{Kind: want, Err: errors.Join(errs...)})
	}
	// overlay is the one that every kernel can be given.
	if err := errs[len(errs)-1]; err != nil {
		return "", fmt.Errorf("%w: %w", ErrNone, err)
	}
	return "", ErrNone
}

// Mount stacks the layers at dir with the first set of options with which the
// union can be used, as test finds out. It leaves nothing mounted on an
// error.
func Mount(sys System, kind Kind, l Layers, dir string, test func(dir string) error) error {
	var first error
	for _, data := range options(kind, l) {
		err := sys.Mount(l.Source, dir, string(kind), 0, data)
		if err != nil {
			err = fmt.Errorf("overlay: mount %s on %s with %s: %w%s", kind, dir, data, err, hint(kind, err))
		} else if err = test(dir); err != nil {
			err = fmt.Errorf("overlay: the %s at %s cannot be used: %w", kind, dir, err)
			if uerr := sys.Unmount(dir); uerr != nil {
				return errors.Join(err, fmt.Errorf("overlay: unmount %s again: %w", dir, uerr))
			}
		}
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
	}
	return first
}

func options(kind Kind, l Layers) []string {
	if kind == Aufs {
		return aufsOptions(l)
	}
	return []string{overlayOptions(l)}
}

func hint(kind Kind, err error) string {
	switch {
	case errors.Is(err, unix.EINVAL) && kind == Aufs:
		return ": the kernel log says which option it refuses; /rw must not be NFS"
	case errors.Is(err, unix.EINVAL):
		return ": the kernel log says which part it refuses; /rw must not be NFS and must be able to hold trusted.* attributes"
	case errors.Is(err, unix.EEXIST):
		return ": aufs's table of inode numbers exists already"
	case errors.Is(err, unix.ENODEV):
		return ": its module is not loaded"
	case errors.Is(err, unix.ESTALE), errors.Is(err, unix.EBUSY):
		return ": the upper layer belongs to another union"
	}
	return ""
}

// overlayOptions are all explicit: the defaults differ between distributions,
// and the tree may change between two boots, which index, xino, metacopy and
// redirect_dir do not survive (Documentation/filesystems/overlayfs.rst,
// "Changes to underlying filesystems"). An upper layer that ends with the boot
// may have redirect_dir, so that directories of the tree can be renamed.
func overlayOptions(l Layers) string {
	redirect := "on"
	if l.Kept {
		redirect = "off"
	}
	return "lowerdir=" + l.Lower + ",upperdir=" + l.Upper + ",workdir=" + l.Work +
		",index=off,nfs_export=off,xino=off,metacopy=off,redirect_dir=" + redirect
}

// aufsOptions offers two texts. icexsys and icexusr let a file be copied up
// although the upper cannot hold its system.* or user.* attributes (NFSv4's
// ACLs; a tmpfs of kernel 6.1), which otherwise fails with EOPNOTSUPP; an aufs
// without CONFIG_AUFS_XATTR ignores them with a line in the kernel's log.
// Without acl the union refuses POSIX ACLs, which journald sets. Tried on aufs
// 6.1 over NFS 3, 4.1 and 4.2. The bare text is for an aufs that knows less.
// dirren is left out: a directory renamed by the node and replaced on the
// server loses its content.
func aufsOptions(l Layers) []string {
	return []string{
		"br=" + l.Upper + "=rw+icexsys+icexusr:" + l.Lower + "=ro,xino=" + l.XIno + ",udba=reval,acl",
		"br=" + l.Upper + "=rw:" + l.Lower + "=ro,xino=" + l.XIno + ",udba=reval",
	}
}

// Has tells whether /proc/filesystems, at path, lists fstype.
func Has(path, fstype string) (bool, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return false, fmt.Errorf("overlay: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		if fields := strings.Fields(line); len(fields) > 0 && fields[len(fields)-1] == fstype {
			return true, nil
		}
	}
	return false, nil
}
