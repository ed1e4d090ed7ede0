package tree

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"syscall"
)

// InitPrograms are the programs that the kernel tries, in its order, where no init= names
// one (init/main.c, kernel_init).
func InitPrograms() []string { return []string{"/sbin/init", "/etc/init", "/bin/init", "/bin/sh"} }

// FindInit returns the path of the tree's init program: the wanted one, or without
// that the first of Inits.
func (t Tree) FindInit(wanted string) (string, error) {
	candidates := InitPrograms()
	if wanted != "" {
		candidates = []string{wanted}
	}
	for _, name := range candidates {
		err := t.Executable(name)
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
	return "", fmt.Errorf("the tree has none of %s: export the root directory of a system: %w", strings.Join(candidates, ", "), fs.ErrNotExist)
}

// An OwnerError says that the init program does not belong to root.
type OwnerError struct {
	Name string
	UID  uint32
}

func (e *OwnerError) Error() string { return fmt.Sprintf("%s belongs to user %d", e.Name, e.UID) }

// CheckInit reads the tree's init program to its end, and tells whether it is one
// that the kernel can run. A file server can let its tree be mounted and then fail
// to read, or return zeros (nfs-ganesha 4.3 with NFS 4.2 to a kernel that uses
// READ_PLUS). The program's pages are needed in a moment anyway. A program that
// is well but not root's is an *OwnerError.
func (t Tree) CheckInit(wanted string) error {
	name, err := t.FindInit(wanted)
	if err != nil {
		return err
	}
	f, err := t.Open(name)
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
		return fmt.Errorf("read %s: its first bytes are %#x: it is not a program, or the server returns wrong data", name, head)
	}
	if err := t.runnable(f, info.Size()); err != nil {
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
	return checkOwner(name, info)
}

// CheckOwner returns an *OwnerError for an init program that is not root's.
func (t Tree) CheckOwner(wanted string) error {
	name, err := t.FindInit(wanted)
	if err != nil {
		return err
	}
	info, err := t.Stat(name)
	if err != nil {
		return err
	}
	return checkOwner(name, info)
}

func checkOwner(name string, info fs.FileInfo) error {
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 {
		return &OwnerError{Name: name, UID: st.Uid}
	}
	return nil
}
