package nfs

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

// ErrWritable says that the export could be written to although every node is
// to share it.
var ErrWritable = errors.New("the export is writable: export it read-only (ro, Access_Type = RO), because one mistaken write would change every node")

// ErrOwner says that the tree's files do not belong to root on this node.
var ErrOwner = errors.New("the init program does not belong to root here: the server sends names instead of numbers (nfs-ganesha: Only_Numeric_Owners = true; knfsd: nfsd.nfs4_disable_idmapping=Y), or the files of the tree have the wrong owner")

// ErrNoOtherVersion says that no other version of NFS can be tried.
var ErrNoOtherVersion = errors.New("no other version of NFS can be tried")

// A MountError says why a tree could not be mounted, and what to do about it.
type MountError struct {
	Source  Source
	Version string
	Err     error
}

func (e *MountError) Error() string {
	text := "nfs: mount " + e.Source.device()
	if e.Version != "" {
		text += " with version " + e.Version
	}
	text += ": " + e.Err.Error()
	if hint := e.hint(); hint != "" {
		text += ": " + hint
	}
	return text
}

func (e *MountError) Unwrap() error { return e.Err }

// hint is what an operator can do about the kernel's answer.
func (e *MountError) hint() string {
	switch {
	case e.Version == "3" && errors.Is(e.Err, errSilent):
		return "its mountd may be waiting for a name service, which it asks about each client: check the name service there, or use the NFS option vers=4.2"
	case errors.Is(e.Err, unix.EACCES), errors.Is(e.Err, unix.EPERM):
		return fmt.Sprintf("the server does not export this path to %s: check its exports (clients, path; read-only is right)", e.Source.Client)
	case errors.Is(e.Err, unix.ENOENT):
		return "the server has no such path: check nfsroot= or DHCP option 17 (an NFSv4 path starts at the server's pseudo root)"
	case errors.Is(e.Err, unix.ENODEV):
		return "the kernel has no NFS: the modules nfs, nfsv3, nfsv4 are missing from the image"
	case errors.Is(e.Err, unix.EPROTONOSUPPORT):
		return "the server does not have this version of NFS, or its module is not in the image"
	case errors.Is(e.Err, unix.ECONNREFUSED):
		return "nothing listens there: is the NFS server running?"
	case errors.Is(e.Err, unix.ETIMEDOUT), errors.Is(e.Err, unix.EHOSTUNREACH), errors.Is(e.Err, unix.ENETUNREACH):
		return "no answer: is the server up? Does a firewall or a missing route keep packets from it?"
	case errors.Is(e.Err, unix.EINVAL):
		return fmt.Sprintf("the kernel refuses these options: %s", e.Source.Data(e.Version))
	case errors.Is(e.Err, unix.ESTALE):
		return "the server has another file system at this path than before: restart its NFS service"
	}
	return ""
}

// errSilent is a server that accepts connections and does not answer.
var errSilent = fmt.Errorf("%w: the server accepts connections but does not answer the mount call", unix.ETIMEDOUT)

// An unreadableError is a tree that was mounted and could not be used.
type unreadableError struct{ err error }

func (e *unreadableError) Error() string { return "mounted, but " + e.err.Error() }
func (e *unreadableError) Unwrap() error { return e.err }

// otherVersionMayDo tells whether another version may succeed.
func otherVersionMayDo(err error) bool {
	var unreadable *unreadableError
	if errors.As(err, &unreadable) {
		// A file that is not there is not there in any version, nor is a
		// program for another machine.
		return !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOEXEC)
	}
	return !errors.Is(err, unix.ENODEV)
}

// sameForMinors tells whether all minor versions fail alike: the server refuses,
// or the owners are wrong.
func sameForMinors(err error) bool {
	return errors.Is(err, ErrOwner) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOENT)
}

// rank orders errors by how much they help an operator.
func rank(err error) int {
	switch {
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return 3
	case errors.Is(err, unix.ENOENT):
		return 2
	case errors.Is(err, unix.EPROTONOSUPPORT):
		return 0
	}
	return 1
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
