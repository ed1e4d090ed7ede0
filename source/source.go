// Package source finds the servers that have a node's tree, mounts the tree from
// one of them, or the version that a base has, and says what is wrong with it
// although a node can boot from it.
package source

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sidusboot/sidusboot/config"
	"github.com/sidusboot/sidusboot/network"
	"github.com/sidusboot/sidusboot/nfs"
)

// A Source is one server of the tree.
type Source struct {
	nfs.Source
	// Origin says where it was named.
	Origin string
	// Priority and Weight are those of DNS (RFC 2782); without it 0 and 1.
	Priority, Weight int
}

// Locate finds the servers that the roots name, by a lease's name servers, in their
// order. With an error for one of them the others are returned too.
func Locate(ctx context.Context, roots []config.Root, l *network.Lease) ([]Source, error) {
	var all []Source
	var errs []error
	for _, r := range roots {
		found, err := lookUp(ctx, r, l)
		all = append(all, found...)
		errs = append(errs, err)
	}
	return all, errors.Join(errs...)
}

// lookUp finds the addresses of a root's server, or of the servers that DNS has
// for a service such as _nfs._tcp.
func lookUp(ctx context.Context, r config.Root, l *network.Lease) (all []Source, err error) {
	s := Source{Origin: r.Origin, Weight: 1, Source: nfs.Source{
		Server: r.Server, Path: r.Path, Client: l.Addr.Addr(), Version: r.Version, Options: r.Options,
	}}
	resolver := l.Resolver()
	if !strings.HasPrefix(r.Server, "_") {
		s.Addr, err = resolver.Lookup(ctx, r.Server)
		if err != nil {
			return nil, err
		}
		return []Source{s}, nil
	}
	services, err := resolver.LookupService(ctx, r.Server)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, service := range services {
		s.Server, s.Priority, s.Weight = strings.TrimSuffix(service.Target, "."), int(service.Priority), int(service.Weight)
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

// Spread is an order in which a node tries the sources: spread over the nodes within
// each priority. DNS has them by priority.
func Spread(all []Source, l *network.Lease) []Source { return inOrder(all, nodeNumber(l)) }

func inOrder(all []Source, node uint32) []Source {
	var order []Source
	for len(all) > 0 {
		end := slices.IndexFunc(all, func(s Source) bool { return s.Priority != all[0].Priority })
		if end < 0 {
			end = len(all)
		}
		var weights []int
		for _, s := range all[:end] {
			weights = append(weights, s.Weight)
		}
		for _, i := range nfs.Spread(node, weights) {
			order = append(order, all[i])
		}
		all = all[end:]
	}
	return order
}

// nodeNumber is what tells a node from others for Spread: its IPv4 address, else
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
