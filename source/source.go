package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/sidusboot/sidusboot/config"
	"github.com/sidusboot/sidusboot/network"
	"github.com/sidusboot/sidusboot/nfs"
	"github.com/sidusboot/sidusboot/panics"
)

// A source is one server of the tree.
type source struct {
	nfs.Source
	origin string
	// priority and weight are those of DNS (RFC 2782); without it 0 and 1.
	priority, weight int
}

// locateRoot finds out from which servers the tree is to be had, by the parameters
// and a lease, in their order. With an error for one of them the others are
// returned too.
func (n *node) locateRoot(ctx context.Context, l *network.Lease) ([]source, error) {
	roots, err := n.cfg.ResolveRoots(n.factsOf(l))
	if err != nil {
		return nil, err
	}
	var all []source
	var errs []error
	for _, r := range roots {
		found, err := n.lookUpRoot(ctx, r, l)
		all = append(all, found...)
		errs = append(errs, err)
	}
	return all, errors.Join(errs...)
}

// lookUpRoot finds the addresses of a root's server, or of the servers that DNS has
// for a service such as _nfs._tcp.
func (n *node) lookUpRoot(ctx context.Context, r config.Root, l *network.Lease) (all []source, err error) {
	s := source{origin: r.Origin, weight: 1, Source: nfs.Source{
		Server: r.Server, Path: r.Path, Client: l.Addr.Addr(), Version: r.Version, Options: r.Options,
	}}
	if !strings.HasPrefix(r.Server, "_") {
		s.Addr, err = n.lookUp(ctx, r.Server, l)
		if err != nil {
			return nil, err
		}
		return []source{s}, nil
	}
	resolver := n.resolver(l)
	services, err := resolver.LookupService(ctx, r.Server)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, service := range services {
		s.Server, s.priority, s.weight = strings.TrimSuffix(service.Target, "."), int(service.Priority), int(service.Weight)
		s.Options = r.Options
		if s.WithoutPort() {
			s.Options = append(slices.Clone(r.Options), fmt.Sprintf("port=%d", service.Port))
		}
		if s.Addr, err = resolver.Lookup(ctx, service.Target); err != nil {
			errs = append(errs, err)
			continue
		}
		all = append(all, s)
	}
	return all, errors.Join(errs...)
}

// inOrder is the order in which a node tries the sources: as they are, or spread
// over the nodes within each priority. DNS has them by priority.
func inOrder(all []source, spread bool, node uint32) []source {
	if !spread {
		return all
	}
	var order []source
	for len(all) > 0 {
		end := slices.IndexFunc(all, func(s source) bool { return s.priority != all[0].priority })
		if end < 0 {
			end = len(all)
		}
		var weights []int
		for _, s := range all[:end] {
			weights = append(weights, s.weight)
		}
		for _, i := range nfs.Spread(node, weights) {
			order = append(order, all[i])
		}
		all = all[end:]
	}
	return order
}

// nodeNumber is what tells a node from others for inOrder: its IPv4 address, else
// the end of its MAC.
func nodeNumber(l *network.Lease) uint32 {
	if addr := l.Addr.Addr(); addr.Is4() {
		return binary.BigEndian.Uint32(addr.AsSlice())
	}
	if len(l.MAC) < 4 {
		return 0
	}
	return binary.BigEndian.Uint32(l.MAC[len(l.MAC)-4:])
}

// reach tells whether one of the tree's servers answers over a lease.
func (n *node) reach(ctx context.Context, l *network.Lease) error {
	sources, err := n.locateRoot(ctx, l)
	if len(sources) == 0 {
		return err
	}
	answers := make(chan error, len(sources))
	for _, s := range sources {
		answer := panics.Go(func() error { return reachSource(ctx, l, s.Source) })
		panics.Go(func() error { answers <- <-answer; return nil })
	}
	for range sources {
		if err = <-answers; err == nil {
			return nil
		}
	}
	return err
}

func reachSource(ctx context.Context, l *network.Lease, s nfs.Source) error {
	port, err := s.Port()
	if err != nil || port == 0 {
		return err
	}
	// The kernel takes every host for a neighbour on a device that is named.
	if !l.NextHop(s.Addr).IsValid() {
		return fmt.Errorf("%s: there is no route to it", s.Addr)
	}
	conn, err := network.Dial(ctx, l.Device, "tcp", netip.AddrPortFrom(s.Addr, port))
	if err != nil {
		return fmt.Errorf("%s: %w", s.Addr, err)
	}
	return conn.Close()
}

// mountAny mounts the tree from the first source that has it, and makes that one
// n.source. A single server is waited for; of several, the next one is tried when
// one does not answer or fails, and again from the first until ctx ends.
func (n *node) mountAny(ctx context.Context, sources []source) (version string, err error) {
	if len(sources) == 1 {
		n.source = sources[0]
		if err := n.seeNextHop(ctx, n.source.Addr); err != nil {
			return "", err
		}
		return n.mountOne(ctx)
	}
	reported := map[string]bool{}
	for {
		silent := false
		var errs []error
		for i, s := range sources {
			n.source = s
			n.waitFor("the NFS server " + s.Addr.String())
			err := n.nfs.Answers(ctx, s.Source)
			if err != nil {
				silent = true
				err = &nfs.MountError{Source: s.Source, Version: s.Version, Err: err}
			} else {
				// One that answers and then hangs must leave time for the others.
				deadline, _ := ctx.Deadline()
				share, cancel := context.WithTimeout(ctx, time.Until(deadline)/time.Duration(len(sources)-i))
				version, err = n.mountOne(share)
				cancel()
			}
			if err == nil {
				return version, nil
			}
			errs = append(errs, err)
			if text := err.Error(); !reported[text] {
				reported[text] = true
				n.log.Errorf("%v; trying the next of %d servers", err, len(sources))
			}
		}
		// Where all of them answer, another try would end in the same way.
		if !silent || ctx.Err() != nil {
			return "", errors.Join(errs...)
		}
		select {
		case <-ctx.Done():
			return "", errors.Join(errs...)
		case <-time.After(sourcePause + rand.N(sourcePause)):
		}
	}
}

// sourcePause is the least time between two rounds over all servers.
const sourcePause = time.Second

// mountOne mounts n.source, or, where that is a base, a version in it.
func (n *node) mountOne(ctx context.Context) (string, error) {
	n.waitFor("the NFS server " + n.source.Addr.String())
	n.treeVersion = ""
	version, err := n.mountSource(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		n.warnNested("3", "") // It may lie in one.
	}
	return version, err
}
