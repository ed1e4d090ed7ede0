package resident

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sidusboot/sidusboot/dns"
)

// PortalNames looks up the names of portals, by which a target redirects its nodes,
// also when the node is up: the resident process has no /etc, and must not need
// one.
type PortalNames struct {
	resolver dns.Resolver

	mu sync.Mutex
	// known are the addresses that were found, for when no name server answers.
	known map[string]netip.Addr
}

// NewPortalNames asks a resolver.
func NewPortalNames(r dns.Resolver) *PortalNames { return &PortalNames{resolver: r} }

// lookUpTime is what the name servers get, so that time is left for the login.
const lookUpTime = 5 * time.Second

// LookUp is iscsi.Target.Resolve: the address of a name, or the one that was found
// before where no server answers.
func (n *PortalNames) LookUp(ctx context.Context, host string) (netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookUpTime)
	defer cancel()
	addr, err := n.resolver.Lookup(ctx, host)
	n.mu.Lock()
	defer n.mu.Unlock()
	if err == nil {
		n.know(host, addr)
		return addr, nil
	}
	if addr, ok := n.known[host]; ok {
		return addr, nil
	}
	return netip.Addr{}, err
}

// maxNames is how many names are kept: a target may redirect to ever new ones.
const maxNames = 16

func (n *PortalNames) know(host string, addr netip.Addr) {
	if n.known == nil {
		n.known = make(map[string]netip.Addr)
	}
	if _, ok := n.known[host]; ok || len(n.known) < maxNames {
		n.known[host] = addr
	}
}

// encode writes down what decodeSession reads.
func (n *PortalNames) encode(add func(key, value string)) {
	for _, s := range n.resolver.Servers {
		add("dns", s.String())
	}
	for _, d := range n.resolver.Search {
		add("search", d)
	}
	if n.resolver.V6 {
		add("dns6", "true")
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, host := range slices.Sorted(maps.Keys(n.known)) {
		add("known", n.known[host].String()+" "+host)
	}
}

// set takes a line of encode.
func (n *PortalNames) set(key, value string) error {
	switch key {
	case "search":
		n.resolver.Search = append(n.resolver.Search, value)
	case "dns6":
		var err error
		n.resolver.V6, err = strconv.ParseBool(value)
		return err
	default:
		text, host, _ := strings.Cut(value, " ")
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return fmt.Errorf("%q: %w", text, err)
		}
		if key == "known" {
			n.know(host, addr)
		} else {
			n.resolver.Servers = append(n.resolver.Servers, addr)
		}
	}
	return nil
}
