package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"syscall"

	"github.com/sidusboot/sidusboot/nfs"
	"github.com/sidusboot/sidusboot/tree"
)

// usualInits are tried in the kernel's own order when there is no init= word
// (init/main.c, kernel_init).
var usualInits = []string{"/sbin/init", "/etc/init", "/bin/init", "/bin/sh"}

// findInit returns the path, within root, of the program to hand over to.
func findInit(root, wanted string) (string, error) {
	candidates := usualInits
	if wanted != "" {
		candidates = []string{wanted}
	}
	for _, name := range candidates {
		err := tree.At(root).Executable(name)
		if err == nil {
			return name, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("init program %s: %w", name, err)
		}
	}
	if wanted != "" {
		return "", fmt.Errorf("the tree has no program %s: check init=: %w", wanted, fs.ErrNotExist)
	}
	return "", fmt.Errorf("the tree has none of %s: is this the root of a system? %w", strings.Join(candidates, ", "), fs.ErrNotExist)
}

// checkInit reads the init program of the tree in root to its end and looks at
// what it got: a server can mount well and then fail to read, or hand out
// zeros (nfs-ganesha 4.3 with NFS 4.2 to a kernel that uses READ_PLUS). The
// program's pages are needed in a moment anyway.
func checkInit(root, wanted string) error {
	name, err := findInit(root, wanted)
	if err != nil {
		return err
	}
	f, err := tree.At(root).Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	var head [4]byte
	if _, err := io.ReadFull(f, head[:]); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	if !bytes.Equal(head[:], []byte("\x7fELF")) && !bytes.HasPrefix(head[:], []byte("#!")) {
		return fmt.Errorf("read %s: its first bytes are %#x, so it is no program, or it is read wrongly", name, head)
	}
	if err := runnable(root, f, info.Size()); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if _, err := f.Seek(int64(len(head)), io.SeekStart); err != nil {
		return err
	}
	n, err := io.Copy(io.Discard, f)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	if got := n + int64(len(head)); got != info.Size() {
		return fmt.Errorf("read %s: got %d bytes of %d", name, got, info.Size())
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 {
		return fmt.Errorf("%s belongs to user %d: %w", name, st.Uid, nfs.ErrOwner)
	}
	return nil
}
