package source

import (
	"context"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/network"
	"github.com/sidusboot/sidusboot/network/rtnetlink"
	"github.com/sidusboot/sidusboot/nfs"
	"github.com/sidusboot/sidusboot/panics"
	"github.com/sidusboot/sidusboot/socket"
)

// Reach tells whether one of the servers, at least one, answers over a lease.
func Reach(ctx context.Context, sources []Source, l *network.Lease) (err error) {
	answers := make(chan error, len(sources))
	for _, s := range sources {
		answer := panics.Go(func() error { return reach(ctx, l, s.Source) })
		panics.Go(func() error { answers <- <-answer; return nil })
	}
	for range sources {
		if err = <-answers; err == nil {
			return nil
		}
	}
	return err
}

func reach(ctx context.Context, l *network.Lease, s nfs.Source) error {
	port, err := s.Port()
	if err != nil || port == 0 {
		return err
	}
	// The kernel takes every host for a neighbour on a device that is named.
	if !l.NextHop(s.Addr).IsValid() {
		return fmt.Errorf("%s: there is no route to it", s.Addr)
	}
	conn, err := socket.Dialer{Device: l.Device}.Dial(ctx, "tcp", netip.AddrPortFrom(s.Addr, port))
	if err != nil {
		return fmt.Errorf("%s: %w", s.Addr, err)
	}
	return conn.Close()
}

// awaitNextHop waits for the server, or for the router on the way to it, to
// answer ARP. What does not even do that needs no longer search.
func (m *Mounter) awaitNextHop(ctx context.Context, server netip.Addr) error {
	hop := m.Lease.NextHop(server)
	link, err := rtnetlink.ByName(m.Lease.Device)
	if err != nil {
		return err
	}
	// IPv6 has no ARP, and InfiniBand another one.
	if !hop.Is4() || link.Type != unix.ARPHRD_ETHER {
		return nil
	}
	who := "the NFS server " + hop.String()
	if hop != server {
		who = "the router " + hop.String()
	}
	m.WaitFor(who + " to answer ARP on " + m.Lease.Device)
	_, err = network.ResolveMAC(ctx, link, m.Lease.Addr.Addr(), hop)
	return err
}
