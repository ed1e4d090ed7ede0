package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/config"
	"github.com/sidusboot/sidusboot/efi"
	"github.com/sidusboot/sidusboot/network"
	"github.com/sidusboot/sidusboot/plan"
)

// efiDir is where efivarfs is mounted while it is read. systemd mounts it for the tree.
const efiDir = stateDir + "/efivars"

// A bootServer is the host that the kernel came from, as it was found over a lease.
type bootServer struct {
	lease        *network.Lease
	server, from string
}

// findBootServer asks firmware and DHCP where the kernel came from, once for each
// lease. Where neither says it, the console does.
func (n *node) findBootServer(ctx context.Context, l *network.Lease) (server, from string) {
	if n.boots.lease == l {
		return n.boots.server, n.boots.from
	}
	n.boots = bootServer{lease: l}
	n.waitFor("the URL of the kernel")
	for _, source := range []struct {
		from string
		url  func() (string, error)
	}{
		{"EFI variable LoaderDeviceURL", n.efiURL},
		{"DHCP's URL for HTTP boot", func() (string, error) { return network.BootURL(ctx, l) }},
	} {
		url, err := source.url()
		if err == nil && url != "" {
			server, err = config.HostOf(url)
			if err == nil && !plan.Reaches(plan.Network(&n.cfg), server) {
				err = fmt.Errorf("its host %s is not used: this node gets no address of the same family; set ip=auto6 or ip=dhcp6 for an IPv6 network", server)
			}
			if err == nil {
				n.boots.server, n.boots.from = server, source.from
				return server, source.from
			}
		}
		if err != nil {
			n.log.Errorf("sidus.server=boot: %s: %v", source.from, err)
		}
	}
	if ctx.Err() != nil {
		n.boots.lease = nil // There was no time for an answer.
	}
	n.log.Noticef("sidus.server=boot: no URL of the kernel was found: the server is the one of DHCP")
	return "", ""
}

// efiURL is the URL that systemd's stub has left in an EFI variable; empty: none.
func (n *node) efiURL() (url string, err error) {
	// An error is not told: the kernel may have it built in.
	_ = n.system.Load("efivarfs")
	if err := os.MkdirAll(efiDir, 0o700); err != nil {
		return "", err
	}
	if err := unix.Mount("efivarfs", efiDir, "efivarfs", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return "", fmt.Errorf("mount efivarfs: %w", err)
	}
	url, err = efi.DeviceURL(efiDir)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return url, errors.Join(err, unix.Unmount(efiDir, unix.MNT_DETACH), os.Remove(efiDir))
}
