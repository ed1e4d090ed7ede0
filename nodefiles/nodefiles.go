// Package nodefiles writes what makes a node differ from the others that run the
// same tree: its names and identifiers, its name servers, its fstab, and what its
// network managers are told. The texts are made by the packages identity and
// managers.
//
// The files of the tree are written to the union, while that is not the root yet;
// what lies below /run is written where it is. None of it is necessary: a layer that
// is kept may have anything in a file's place, and a node that runs without its name
// can be repaired.
package nodefiles

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/sidusboot/sidusboot/identity"
	"github.com/sidusboot/sidusboot/network"
	"github.com/sidusboot/sidusboot/rwlayer"
	"github.com/sidusboot/sidusboot/tree"
)

// A Node is what a node's files say of it.
type Node struct {
	// Machine names this machine and no other: its identifiers are made of it.
	Machine string
	// Leases are the node's own, the one that leads to the root first. The host
	// name of that one is the node's.
	Leases []*network.Lease
	// Untouched are devices without a lease that no network manager must touch.
	Untouched []string
	// TreeOwnsLeases: a network manager of the tree is to have the leases, and none
	// is told to keep the NICs as they are.
	TreeOwnsLeases bool
	// Initiator is the node's iSCSI name, which the tree's open-iscsi is told; empty
	// where it keeps its own.
	Initiator string
	// HasSession: the node's session with a target has that name. open-iscsi must
	// leave it alone.
	HasSession bool
	// Omit are kinds of files (config.Identities) that the tree's own stay of.
	Omit map[string]bool
	// NoFail adds nofail to the lines of fstab for devices that are not there.
	NoFail bool
	// Init is the program that was asked for as the tree's init, or empty.
	Init string
}

// Write writes the node's files to union, which is not the root yet and has lower
// as its lower layer, and to /run. It returns the lines of fstab that are for devices
// that the node does not have, and what could not be written.
func (n *Node) Write(union, lower string) (absent []string, errs []error) {
	add := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	files := tree.Union{Tree: tree.At(union), Lower: tree.At(lower)}
	if name := n.Leases[0].Hostname; name != "" && n.has("hostname") {
		add(files.Replace("/etc/hostname", []byte(name+"\n")))
	}
	add(n.writeResolver(files))
	errs = append(errs, n.writeIdentity(files)...)
	errs = append(errs, n.adviseManagers(union)...)
	add(n.writeTime())
	absent, err := n.editFstab(files)
	add(err)
	return absent, errs
}

// WriteKlibc leaves the leases in /run as klibc's ipconfig does, with the time since
// the kernel started.
func (n *Node) WriteKlibc(uptime time.Duration) (errs []error) {
	for _, l := range n.Leases {
		path, text := identity.Klibc(l, uptime)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// has tells whether the node is to be given a kind of file.
func (n *Node) has(kind string) bool { return !n.Omit[kind] }

// editFstab comments out the tree's own lines for "/", and returns lines for
// devices that this node does not have, see identity.Fstab.
func (n *Node) editFstab(files tree.Union) (absent []string, err error) {
	err = files.Edit("/etc/fstab", func(old string) (text string) {
		text, absent = identity.Fstab(old, n.NoFail, func(spec string) bool { return rwlayer.Present(spec, "/sys", "/dev") })
		return text
	})
	return absent, err
}

// writeBelow writes a file below root, which is no foreign tree. It may be there
// from an earlier attempt.
func writeBelow(root string, f identity.File) error {
	path := filepath.Join(root, f.Path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if f.Link == "" {
		return os.WriteFile(path, []byte(f.Text), 0o644)
	}
	if err := os.Symlink(f.Link, path); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
