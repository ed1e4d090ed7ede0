// Package nfs mounts the shared tree, read-only, by mount(2) with text data:
// NFS 4.2, 4.1, 4.0, then 3, or the version that was asked for. A mount that
// succeeded proves nothing yet, so the init program is read to its end before
// a version is believed (nfs-ganesha 4.3 serves a kernel 6.12 that speaks 4.2
// a tree in which every read fails).
//
// It needs the module nfs, and nfsv4 or nfsv3 for the version that is tried.
package nfs

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A Source is what to mount.
type Source struct {
	// Server is for messages and for the mount's name; Addr is its address.
	Server string
	Addr   netip.Addr
	Path   string
	// Client is this node's address, told to NFSv4.0 servers for callbacks.
	Client netip.Addr
	// Version is "", "3", "4", "4.0", "4.1" or "4.2". Empty tries all, "4" the
	// three minor versions.
	Version string
	// Options are handed to the kernel as they are, after ours.
	Options []string
}

func (s Source) String() string {
	return s.device()
}

// device is the name of the mount: SERVER:PATH, an IPv6 address in brackets.
func (s Source) device() string {
	host := s.Addr.String()
	if s.Addr.Is6() {
		host = "[" + host + "]"
	}
	return host + ":" + s.Path
}

// Versions are the versions to try, best first.
func (s Source) Versions() ([]string, error) {
	switch s.Version {
	case "":
		return []string{"4.2", "4.1", "4.0", "3"}, nil
	case "4":
		return []string{"4.2", "4.1", "4.0"}, nil
	case "3", "4.0", "4.1", "4.2":
		return []string{s.Version}, nil
	}
	return nil, fmt.Errorf("nfs: version %q is none of 3, 4, 4.0, 4.1, 4.2", s.Version)
}

// Module is the kernel module that speaks a version.
func Module(version string) string {
	if version == "3" {
		return "nfsv3"
	}
	return "nfsv4"
}

// nfsPort is where every NFSv4 server listens (RFC 7530, section 3.1).
const nfsPort = "2049"

// Data is the text for mount(2). The kernel takes no name service and no
// defaults of mount.nfs(8), so addr= and the like are spelled out
// (fs/nfs/fs_context.c). The options given come last: for most of them the
// kernel lets the last word win.
func (s Source) Data(version string) string {
	opts := []string{"vers=" + version, "proto=" + s.proto("tcp"), "hard", "timeo=600", "retrans=2"}
	if version == "3" {
		// No statd and no lockd to talk to at boot, and a union does not hand
		// locks to the server anyway. noacl stays away: with it the kernels 6.1
		// and 6.12 answer EOPNOTSUPP to every program that a user other than
		// root starts from an overlayfs (docs/architecture.md).
		opts = append(opts, "nolock", "mountproto="+s.proto("tcp"), "mountvers=3", "mountaddr="+s.Addr.String())
	} else {
		if !s.has("port") {
			opts = append(opts, "port="+nfsPort)
		}
		if s.Client.IsValid() {
			opts = append(opts, "clientaddr="+s.Client.String())
		}
	}
	opts = append(opts, "addr="+s.Addr.String())
	return strings.Join(append(opts, s.Options...), ",")
}

func (s Source) proto(name string) string {
	if s.Addr.Is6() {
		return name + "6"
	}
	return name
}

// has tells whether an option of this name was given.
func (s Source) has(name string) bool { return s.option(name) != "" }

// Port is where the server listens by TCP, and 0 where the options say that it
// is not TCP that it is spoken to by.
func (s Source) Port() (uint16, error) {
	if strings.HasPrefix(s.option("proto"), "udp") || s.option("proto") == "rdma" {
		return 0, nil
	}
	text := nfsPort
	if p := s.option("port"); p != "" {
		text = p
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("the NFS option port=%s is no port", text)
	}
	return uint16(port), nil
}

func (s Source) option(name string) string {
	i := slices.IndexFunc(s.Options, func(o string) bool { return strings.HasPrefix(o, name+"=") })
	if i < 0 {
		return ""
	}
	return strings.TrimPrefix(s.Options[i], name+"=")
}

// ErrWritable says that the export could be written to although every node is
// to share it.
var ErrWritable = errors.New("the export is writable: export it read-only (ro, Access_Type = RO), or a stray write spoils every node")

// ErrOwner says that the tree's files do not belong to root on this node.
var ErrOwner = errors.New("the init program does not belong to root here: the server sends names instead of numbers (nfs-ganesha: Only_Numeric_Owners = true; knfsd: nfsd.nfs4_disable_idmapping=Y), or the tree was made wrongly")

// A MountError says why a tree could not be had, and what to do about it.
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
	case errors.Is(e.Err, unix.EACCES), errors.Is(e.Err, unix.EPERM):
		return fmt.Sprintf("the server refuses the export to %s: look at its exports (clients, path, read-only is fine)", e.Source.Client)
	case errors.Is(e.Err, unix.ENOENT):
		return "the server has no such path: check nfsroot= or DHCP option 17 (an NFSv4 path starts at the server's pseudo root)"
	case errors.Is(e.Err, unix.ENODEV):
		return "the kernel has no NFS: the modules nfs, nfsv3, nfsv4 are missing from the image"
	case errors.Is(e.Err, unix.EPROTONOSUPPORT):
		return "this version is not served, or its module is not in the image"
	case errors.Is(e.Err, unix.ECONNREFUSED):
		return "nothing listens there: is the NFS server running?"
	case errors.Is(e.Err, unix.ETIMEDOUT), errors.Is(e.Err, unix.EHOSTUNREACH), errors.Is(e.Err, unix.ENETUNREACH):
		return "no answer: is the server up, and does a firewall or a missing route stand between?"
	case errors.Is(e.Err, unix.EINVAL):
		return fmt.Sprintf("the kernel does not take these options: %s", e.Source.Data(e.Version))
	case errors.Is(e.Err, unix.ESTALE):
		return "the server exports another file system there than it did: restart its NFS service"
	}
	return ""
}
