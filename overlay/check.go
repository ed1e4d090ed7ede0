package overlay

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/panics"
)

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

// CheckUsers returns nil if others than root can open a file of a union. overlayfs
// asks the tree below for ACLs, and an NFSv3 mount that has none (noacl, or a
// server without NFSACL) answers with an error that only they get.
func CheckUsers(file string) error {
	err := <-panics.Go(func() error {
		// The thread takes another identity and dies with this goroutine,
		// because it is never unlocked.
		runtime.LockOSThread()
		// These calls give no errors, only the identity before (setfsuid(2)).
		_, _, _ = unix.RawSyscall(unix.SYS_SETFSGID, nobody, 0, 0)
		_, _, _ = unix.RawSyscall(unix.SYS_SETFSUID, nobody, 0, 0)
		fd, err := unix.Open(file, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Close(fd)
		}
		return err
	})
	if errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("users other than root cannot open %s: %w: drop noacl from the NFS options, or use version 4", file, err)
	}
	return nil // Any other answer is the file's own: it may be for root only.
}
