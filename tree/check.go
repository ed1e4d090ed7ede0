package tree

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"golang.org/x/sys/unix"
)

// Check tries what a boot needs of a tree: the init program to its end, a
// directory's list, a link, a small file. A server can mount well and fail in any
// of them, with one version of NFS and one kernel.
func (t Tree) Check(init string) error {
	if err := t.CheckInit(init); err != nil {
		return err
	}
	return t.CheckReads()
}

// CheckReads is Check for all but the init program.
func (t Tree) CheckReads() error {
	for _, dir := range [...]string{"/", "/etc"} {
		if err := t.checkList(dir); err != nil {
			return err
		}
	}
	for _, name := range smallTexts {
		if err := t.checkSmall(name); err != nil {
			return err
		}
	}
	return nil
}

// smallTexts are what most trees have; the first one is a link in most.
var smallTexts = [...]string{"/etc/os-release", "/etc/passwd"}

// checkList lists a directory and reads the first link in it.
func (t Tree) checkList(name string) error {
	// A tree need not have it.
	if info, err := t.Lstat(name); errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
		return nil
	}
	entries, err := t.ReadDir(name)
	if err != nil {
		return fmt.Errorf("list %s: %w", name, err)
	}
	if len(entries) == 0 && name == "/" {
		return errors.New("list /: the list is empty, although the tree has an init program")
	}
	for _, e := range entries {
		if e.Type()&fs.ModeSymlink == 0 {
			continue
		}
		link := path.Join(name, e.Name())
		target, err := t.Readlink(link)
		if err == nil && target == "" {
			err = errors.New("its target is empty")
		}
		if err != nil {
			return fmt.Errorf("read the link %s: %w", link, err)
		}
		break
	}
	return nil
}

// checkSmall reads a text, if the tree has it. A small file comes in one call, and
// nfs-ganesha 4.3 has been seen to return zeros for it.
func (t Tree) checkSmall(name string) error {
	info, err := t.Stat(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ELOOP) {
		return nil // A link without a target is not the server's fault.
	}
	if err != nil {
		return fmt.Errorf("look up %s: %w", name, err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxSmall {
		return nil
	}
	text, err := t.ReadFile(name)
	switch {
	case err != nil:
		return fmt.Errorf("read %s: %w", name, err)
	case int64(len(text)) != info.Size():
		return fmt.Errorf("read %s: got %d bytes of %d", name, len(text), info.Size())
	case len(text) > 0 && len(bytes.Trim(text, "\x00")) == 0:
		return fmt.Errorf("read %s: %w", name, ErrZeros)
	}
	return nil
}

// maxSmall is the size of the largest file that checkSmall reads.
const maxSmall = 64 << 10

// ErrZeros is about a text that is read as zeros.
var ErrZeros = errors.New("all bytes are zero")
