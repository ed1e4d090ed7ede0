// Package nfs mounts the shared tree, read-only, by mount(2) with text data: in
// the version that was asked for, else NFS 3 where the server says that it
// serves it, else 4.2, 4.1, 4.0. A mount that succeeded proves nothing yet, so
// what a boot needs of a tree is tried before a version is accepted
// (nfs-ganesha 4.3 serves a kernel 6.12 that speaks 4.2 a tree in which every
// read fails).
//
// It needs the module nfs, and nfsv4 or nfsv3 for the version that is tried.
package nfs

import (
	"fmt"
	"net/netip"
	"strings"
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

// Versions are the versions to try, best first. NFS 3 comes first where the
// server serves it: it keeps no state on the server, so that there is no
// identity that two nodes could share, no grace period and no recovery, and it costs a boot less
// (docs/architecture.md has the figures).
func (s Source) Versions(serves3 bool) ([]string, error) {
	switch s.Version {
	case "":
		if serves3 {
			return []string{"3", "4.2", "4.1", "4.0"}, nil
		}
		return []string{"4.2", "4.1", "4.0", "3"}, nil
	case "4":
		return []string{"4.2", "4.1", "4.0"}, nil
	case "3", "4.0", "4.1", "4.2":
		return []string{s.Version}, nil
	}
	return nil, fmt.Errorf("nfs: version %q: choose one of 3, 4, 4.0, 4.1, 4.2", s.Version)
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
		// Who says where mountd is has no portmapper to ask for NFS either.
		if s.has("mountport") && !s.has("port") && s.transport() == "tcp" {
			opts = append(opts, "port="+nfsPort)
		}
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
