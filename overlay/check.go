package overlay

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/panics"
	"github.com/sidusboot/sidusboot/tree"
)

// CheckTree returns nil if a union shows the tree below it as a node needs it: its
// init program, which others than root can open, and small files.
func CheckTree(lower, union tree.Tree, init string) error {
	// What a program of another owner means was decided for the tree.
	var owner *tree.OwnerError
	if err := union.CheckInit(init); err != nil && !errors.As(err, &owner) {
		return err
	}
	// What a kept layer has in place of a text is the node's own.
	if err := union.CheckReads(); err != nil && !errors.Is(err, tree.ErrZeros) {
		return err
	}
	program, err := union.FindInit(init)
	if err == nil {
		err = checkHidden(lower, union, program, init)
	}
	if err != nil {
		return err
	}
	return checkUsers(union, program)
}

// checkHidden returns an error for a union whose upper layer hides the tree's init
// program (a whiteout, a link that leads nowhere): what is found in its place is
// a shell, mostly, and the kernel panics when that ends.
func checkHidden(lower, union tree.Tree, program, init string) error {
	own, err := lower.FindInit(init)
	if err != nil || own == program {
		return nil
	}
	if err := union.Executable(own); err != nil {
		return fmt.Errorf("the upper layer hides the tree's init program %s: %w", own, err)
	}
	return nil
}

// CheckWrite returns nil if the union in dir can be written: in a directory that
// comes from the tree, so that copying up works too. It leaves nothing behind. A
// directory that an administrator has made immutable on a kept layer proves
// nothing about the others.
func CheckWrite(dir string) (err error) {
	for _, name := range []string{"/etc", "/usr", "/var", "/root", "/"} {
		// A link could lead out of the union.
		if info, lerr := os.Lstat(dir + name); lerr != nil || !info.IsDir() {
			continue
		}
		if err = checkWriteIn(dir + name); !errors.Is(err, unix.EPERM) {
			return err
		}
	}
	return err
}

func checkWriteIn(where string) error {
	test, err := os.MkdirTemp(where, ".sidusboot-test-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(test)
	const want = "sidusboot"
	if err := os.WriteFile(test+"/a", []byte(want), 0o600); err != nil {
		return err
	}
	if err := os.Rename(test+"/a", test+"/b"); err != nil {
		return err
	}
	got, err := os.ReadFile(test + "/b")
	if err != nil {
		return err
	}
	if string(got) != want {
		return fmt.Errorf("wrote %q, read %q", want, got)
	}
	return os.RemoveAll(test)
}

// nobody is the user and group that owns nothing.
const nobody = 65534

// checkUsers returns nil if others than root can open a program of a union.
// overlayfs asks the tree below for ACLs, and an NFSv3 mount that has none (noacl,
// or a server without NFSACL) answers with an error that only they get.
func checkUsers(union tree.Tree, program string) error {
	err := <-panics.Go(func() error {
		// The thread takes another identity and ends with this goroutine,
		// because it is never unlocked.
		runtime.LockOSThread()
		// These calls give no errors, only the identity before (setfsuid(2)).
		_, _, _ = unix.RawSyscall(unix.SYS_SETFSGID, nobody, 0, 0)
		_, _, _ = unix.RawSyscall(unix.SYS_SETFSUID, nobody, 0, 0)
		f, err := union.Open(program)
		if err == nil {
			err = f.Close()
		}
		return err
	})
	if errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("users other than root cannot %w: remove noacl from the NFS options, or use version 4", err)
	}
	return nil // Any other answer is the file's own: it may be for root only.
}
