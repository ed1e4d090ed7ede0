package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/nfs"
	"github.com/sidusboot/sidusboot/tree"
)

// checkTree tries in root what a boot needs of a tree: the init program to its
// end, a directory's list, a link, a small file. A server can mount well and
// fail in any of them, with one version of NFS and one kernel.
func checkTree(root, wanted string) error {
	if err := checkInit(root, wanted); err != nil {
		return err
	}
	return checkReads(root)
}

// checkReads is checkTree for all but the init program.
func checkReads(root string) error {
	for _, dir := range [...]string{"/", "/etc"} {
		if err := checkList(root, dir); err != nil {
			return err
		}
	}
	for _, name := range smallTexts {
		if err := checkSmall(root, name); err != nil {
			return err
		}
	}
	return nil
}

// smallTexts are what most trees have; the first one is a link in most.
var smallTexts = [...]string{"/etc/os-release", "/etc/passwd"}

// checkList lists a directory and reads the first link in it.
func checkList(root, name string) error {
	dir := filepath.Join(root, name)
	// There need not be such a one, and a link could lead out of the tree.
	if info, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list %s: %w", name, err)
	}
	if len(entries) == 0 && name == "/" {
		return errors.New("list /: it is empty, and there is a program below it")
	}
	for _, e := range entries {
		if e.Type()&fs.ModeSymlink == 0 {
			continue
		}
		target, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err == nil && target == "" {
			err = errors.New("it leads nowhere")
		}
		if err != nil {
			return fmt.Errorf("read the link %s: %w", filepath.Join(name, e.Name()), err)
		}
		break
	}
	return nil
}

// checkSmall reads a text, if the tree has it. Such a one comes in one call, and
// nfs-ganesha 4.3 has been seen to hand out zeros for it.
func checkSmall(root, name string) error {
	resolved, err := tree.At(root).Resolve(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ELOOP) {
		return nil // A link that leads nowhere is not the server's doing.
	}
	if err != nil {
		return fmt.Errorf("look up %s: %w", name, err)
	}
	info, err := os.Lstat(filepath.Join(root, resolved))
	if err != nil {
		return fmt.Errorf("look at %s: %w", name, err)
	}
	if !info.Mode().IsRegular() || info.Size() > 64<<10 {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(root, resolved))
	switch {
	case err != nil:
		return fmt.Errorf("read %s: %w", name, err)
	case int64(len(text)) != info.Size():
		return fmt.Errorf("read %s: got %d bytes of %d", name, len(text), info.Size())
	case len(text) > 0 && len(bytes.Trim(text, "\x00")) == 0:
		return fmt.Errorf("read %s: %w", name, errZeros)
	}
	return nil
}

// errZeros is a text without one.
var errZeros = errors.New("got nothing but zeros")

// checkUnion proves that the union in dir shows the tree.
func checkUnion(dir, program string) error {
	// Where the owners are wrong in every version the tree has been taken as it is.
	if err := checkInit(dir, program); err != nil && !errors.Is(err, nfs.ErrOwner) {
		return err
	}
	// What a kept layer has in place of a text is the node's own.
	if err := checkReads(dir); err != nil && !errors.Is(err, errZeros) {
		return err
	}
	return nil
}
