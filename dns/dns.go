// Package dns finds the address of a name. It asks the name servers that it is
// told of, and reads no file. Package net's own resolver would make /init 5 %
// larger.
package dns

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// A Resolver asks name servers.
type Resolver struct {
	// Servers are asked in this order.
	Servers []netip.Addr
	// Search are the domains that a name without a dot may belong to.
	Search []string
	// V6 asks for IPv6 addresses instead of IPv4 ones.
	V6 bool
	// Port is 53 where it is 0.
	Port uint16
}

const (
	dnsPort    = 53
	dnsRounds  = 2
	dnsTimeout = 2 * time.Second
	// dnsSize is the most that a server may answer by UDP without EDNS (RFC
	// 1035, 4.2.1).
	dnsSize = 512
)

// A serverError is a name server's answer that it has none.
type serverError struct{ code dnsmessage.RCode }

func (e *serverError) Error() string {
	return "the server answers " + strings.TrimPrefix(e.code.String(), "RCode")
}

// errNoName means that a server knows that there is no such name.
var errNoName = errors.New("no such name, or no address of this kind for it")

// Lookup finds the address of a name.
func (r *Resolver) Lookup(ctx context.Context, name string) (netip.Addr, error) {
	if len(r.Servers) == 0 {
		return netip.Addr{}, fmt.Errorf("look up %s: there is no DNS server to ask", name)
	}
	// A domain for which the servers have no answer, since theirs is another
	// one's and down (SERVFAIL), or since they are not to be asked for it
	// (REFUSED), says nothing of the next one. It is told where no other domain
	// has the name: "no such name" is not sure then.
	failed := errNoName
	for _, full := range r.candidates(name) {
		addr, err := r.ask(ctx, full)
		if err == nil {
			return addr, nil
		}
		if errors.Is(failed, errNoName) && !errors.Is(err, errNoName) {
			failed = fmt.Errorf("as %s: %w", full, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return netip.Addr{}, fmt.Errorf("look up %s: %w", name, failed)
}

// candidates are the names to ask for, each with its final dot.
func (r *Resolver) candidates(name string) []string {
	if strings.HasSuffix(name, ".") {
		return []string{name}
	}
	var all []string
	for _, domain := range r.Search {
		all = append(all, name+"."+strings.TrimSuffix(domain, ".")+".")
	}
	if strings.Contains(name, ".") {
		return append([]string{name + "."}, all...)
	}
	return append(all, name+".")
}

// ask asks the servers in turn until one of them answers.
func (r *Resolver) ask(ctx context.Context, full string) (netip.Addr, error) {
	port := r.Port
	if port == 0 {
		port = dnsPort
	}
	var last error
	silent := slices.Clone(r.Servers)
	for range dnsRounds {
		// A server that has answered would say the same again.
		for _, server := range slices.Clone(silent) {
			if ctx.Err() != nil {
				return netip.Addr{}, ctx.Err()
			}
			addr, err := askOne(ctx, netip.AddrPortFrom(server, port), full, r.kind())
			if err == nil || errors.Is(err, errNoName) {
				return addr, err
			}
			if answered := (*serverError)(nil); errors.As(err, &answered) {
				silent = slices.DeleteFunc(silent, func(a netip.Addr) bool { return a == server })
			}
			last = fmt.Errorf("ask %s: %w", server, err)
		}
	}
	return netip.Addr{}, last
}

func (r *Resolver) kind() dnsmessage.Type {
	if r.V6 {
		return dnsmessage.TypeAAAA
	}
	return dnsmessage.TypeA
}

func askOne(ctx context.Context, server netip.AddrPort, full string, kind dnsmessage.Type) (netip.Addr, error) {
	name, err := dnsmessage.NewName(full)
	if err != nil {
		return netip.Addr{}, err
	}
	id := uint16(rand.Uint32())
	query := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: id, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: name, Type: kind, Class: dnsmessage.ClassINET}},
	}
	b, err := query.Pack()
	if err != nil {
		return netip.Addr{}, err
	}
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(server))
	if err != nil {
		return netip.Addr{}, err
	}
	defer conn.Close()
	deadline := time.Now().Add(dnsTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	if err := conn.SetDeadline(deadline); err != nil {
		return netip.Addr{}, err
	}
	if _, err := conn.Write(b); err != nil {
		return netip.Addr{}, err
	}
	answer := make([]byte, dnsSize)
	for {
		n, err := conn.Read(answer)
		if err != nil {
			return netip.Addr{}, err
		}
		addr, ours, err := firstAddress(answer[:n], id, name, kind)
		if ours {
			return addr, err
		}
	}
}

// firstAddress reads an answer. ours is false for an answer to another question,
// and for a packet that is no answer.
func firstAddress(b []byte, id uint16, name dnsmessage.Name, kind dnsmessage.Type) (addr netip.Addr, ours bool, err error) {
	var p dnsmessage.Parser
	header, err := p.Start(b)
	if err != nil || header.ID != id || !header.Response {
		return addr, false, nil
	}
	q, err := p.Question()
	if err != nil || q.Type != kind || !strings.EqualFold(q.Name.String(), name.String()) {
		return addr, false, nil
	}
	switch header.RCode {
	case dnsmessage.RCodeSuccess:
	case dnsmessage.RCodeNameError:
		return addr, true, errNoName
	default:
		return addr, true, &serverError{header.RCode}
	}
	if err := p.SkipAllQuestions(); err != nil {
		return addr, false, nil
	}
	for {
		// Aliases come first, and lead to the address.
		h, err := p.AnswerHeader()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			return addr, true, errNoName
		}
		if err != nil {
			return addr, true, err
		}
		if h.Type != kind || h.Class != dnsmessage.ClassINET {
			if err := p.SkipAnswer(); err != nil {
				return addr, true, err
			}
			continue
		}
		addr, err := address(&p, kind)
		return addr, true, err
	}
}

func address(p *dnsmessage.Parser, kind dnsmessage.Type) (netip.Addr, error) {
	if kind == dnsmessage.TypeAAAA {
		r, err := p.AAAAResource()
		if err != nil {
			return netip.Addr{}, err
		}
		return netip.AddrFrom16(r.AAAA), nil
	}
	r, err := p.AResource()
	if err != nil {
		return netip.Addr{}, err
	}
	return netip.AddrFrom4(r.A), nil
}
