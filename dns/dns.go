// Package dns finds the address of a name. It asks the name servers that it is
// told of, and reads no file. Package net's own resolver would make /init 5 %
// larger.
package dns

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/sidusboot/sidusboot/socket"
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

// Lookup finds the address of a name. A name that is an address is not looked up.
func (r *Resolver) Lookup(ctx context.Context, name string) (netip.Addr, error) {
	if addr, err := netip.ParseAddr(name); err == nil {
		return addr, nil
	}
	var found []netip.Addr
	q := question{kind: dnsmessage.TypeA, add: func(p *dnsmessage.Parser) error {
		a, err := p.AResource()
		if err == nil {
			found = append(found, netip.AddrFrom4(a.A))
		}
		return err
	}}
	if r.V6 {
		q = question{kind: dnsmessage.TypeAAAA, add: func(p *dnsmessage.Parser) error {
			a, err := p.AAAAResource()
			if err == nil {
				found = append(found, netip.AddrFrom16(a.AAAA))
			}
			return err
		}}
	}
	if err := r.search(ctx, name, q); err != nil {
		return netip.Addr{}, err
	}
	return found[0], nil
}

// A Service is where a service is to be had (RFC 2782).
type Service struct {
	// Target is a name, with its final dot.
	Target                 string
	Port, Priority, Weight uint16
}

// before tells whether a client uses s before o.
func (s *Service) before(o *Service) bool {
	switch {
	case s.Priority != o.Priority:
		return s.Priority < o.Priority
	case s.Weight != o.Weight:
		return s.Weight > o.Weight
	case s.Target != o.Target:
		return s.Target < o.Target
	}
	return s.Port < o.Port
}

// LookupService finds the servers of a service, such as _nfs._tcp: those of the
// lowest priority first, and of these the heaviest. An answer must fit into a
// packet, which is the case for some ten servers.
func (r *Resolver) LookupService(ctx context.Context, name string) ([]Service, error) {
	var found []Service
	err := r.search(ctx, name, question{kind: dnsmessage.TypeSRV, add: func(p *dnsmessage.Parser) error {
		s, err := p.SRVResource()
		if err != nil {
			return err
		}
		// The order of records in an answer changes from one to the next. The
		// generic sort would be 6 kB of /init.
		found = append(found, Service{Target: s.Target.String(), Port: s.Port, Priority: s.Priority, Weight: s.Weight})
		for i := len(found) - 1; i > 0 && found[i].before(&found[i-1]); i-- {
			found[i], found[i-1] = found[i-1], found[i]
		}
		return nil
	}})
	if err != nil {
		return nil, err
	}
	if len(found) == 1 && found[0].Target == "." {
		return nil, fmt.Errorf("look up %s: the domain has no such service", name)
	}
	return found, nil
}

// A question is the kind of records that are asked for. add reads one of them.
type question struct {
	kind dnsmessage.Type
	add  func(p *dnsmessage.Parser) error
}

// search asks for a name in the domains that it may belong to.
func (r *Resolver) search(ctx context.Context, name string, q question) error {
	if len(r.Servers) == 0 {
		return fmt.Errorf("look up %s: no DNS server is known", name)
	}
	// A domain for which the servers have no answer, since theirs is another
	// one's and down (SERVFAIL), or since they are not to be asked for it
	// (REFUSED), says nothing of the next one. It is told where no other domain
	// has the name: "no such name" is not sure then.
	failed := errNoName
	for _, full := range r.candidates(name) {
		err := r.ask(ctx, full, q)
		if err == nil {
			return nil
		}
		if errors.Is(failed, errNoName) && !errors.Is(err, errNoName) {
			failed = fmt.Errorf("as %s: %w", full, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return fmt.Errorf("look up %s: %w", name, failed)
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
	// The dot of _nfs._tcp is that of a service, not of a domain.
	if strings.Contains(strings.ReplaceAll(name, "._", "_"), ".") {
		return append([]string{name + "."}, all...)
	}
	return append(all, name+".")
}

// ask asks the servers in turn until one of them answers.
func (r *Resolver) ask(ctx context.Context, full string, q question) error {
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
				return ctx.Err()
			}
			err := askOne(ctx, netip.AddrPortFrom(server, port), full, q)
			if err == nil || errors.Is(err, errNoName) {
				return err
			}
			if answered := (*serverError)(nil); errors.As(err, &answered) {
				silent = slices.DeleteFunc(silent, func(a netip.Addr) bool { return a == server })
			}
			last = fmt.Errorf("ask %s: %w", server, err)
		}
	}
	return last
}

func askOne(ctx context.Context, server netip.AddrPort, full string, q question) error {
	name, err := dnsmessage.NewName(full)
	if err != nil {
		return err
	}
	id := uint16(rand.Uint32())
	query := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: id, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: name, Type: q.kind, Class: dnsmessage.ClassINET}},
	}
	b, err := query.Pack()
	if err != nil {
		return err
	}
	conn, err := socket.Dialer{}.Dial(ctx, "udp", server)
	if err != nil {
		return err
	}
	defer conn.Close()
	deadline := time.Now().Add(dnsTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	if _, err := conn.Write(b); err != nil {
		return err
	}
	answer := make([]byte, dnsSize)
	for {
		n, err := conn.Read(answer)
		if err != nil {
			return err
		}
		if ours, err := parseAnswer(answer[:n], id, name, q); ours {
			return err
		}
	}
}

// parseAnswer reads the records of an answer. ours is false for an answer to
// another question, and for a packet that is no answer. Without an error there is
// at least one record.
func parseAnswer(b []byte, id uint16, name dnsmessage.Name, q question) (ours bool, err error) {
	var p dnsmessage.Parser
	header, err := p.Start(b)
	if err != nil || header.ID != id || !header.Response {
		return false, nil
	}
	asked, err := p.Question()
	if err != nil || asked.Type != q.kind || !strings.EqualFold(asked.Name.String(), name.String()) {
		return false, nil
	}
	switch header.RCode {
	case dnsmessage.RCodeSuccess:
	case dnsmessage.RCodeNameError:
		return true, errNoName
	default:
		return true, &serverError{header.RCode}
	}
	if err := p.SkipAllQuestions(); err != nil {
		return false, nil
	}
	for count := 0; ; {
		// Aliases come first, and lead to the records.
		h, err := p.AnswerHeader()
		switch {
		case count > 0 && err != nil:
			return true, nil
		case errors.Is(err, dnsmessage.ErrSectionDone):
			return true, errNoName
		case err != nil:
			return true, err
		case h.Type != q.kind || h.Class != dnsmessage.ClassINET:
			err = p.SkipAnswer()
		default:
			err = q.add(&p)
			count++
		}
		if err != nil {
			return true, err
		}
	}
}
