package network

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/insomniacslk/dhcp/rfc1035label"
	"github.com/sidusboot/sidusboot/network/rtnetlink"
	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/panics"
)

// Lease.Proto of addresses by IPv6.
const (
	protoRouter = "auto6"
	protoDHCP6  = "dhcp6"
)

// usableTime is what the kernel gets to see that nobody else has an IPv6
// address; it asks once and waits a second (RFC 4862, section 5.4).
const usableTime = 5 * time.Second

// A NoRouterError says that nothing was heard of a router.
type NoRouterError struct {
	Device string
	Waited time.Duration
}

func (e *NoRouterError) Error() string {
	return fmt.Sprintf("no IPv6 router advertises itself on %s in %v: is radvd, or dnsmasq with --enable-ra, running, and in this VLAN?", e.Device, e.Waited.Round(time.Second))
}

// A routerListener hears router advertisements (RFC 4861, section 4.2). The
// kernel acts on them; this is for what it does not tell: whether there is
// DHCPv6, and the name servers.
type routerListener struct {
	file  *os.File
	index int
}

// listenRouter begins to listen, and tells the kernel to take an address from a
// router. It is to be called before the link is set up.
func listenRouter(link *rtnetlink.Link) (*routerListener, error) {
	name := link.Name
	for _, s := range []struct{ setting, value string }{
		{"disable_ipv6", "0"}, {"autoconf", "1"},
		// 2, as docker and its like make a router of the node: with 1 its own
		// routes would be gone then.
		{"accept_ra", "2"},
		// Nobody else is to be spared a question asked a second later.
		{"router_solicitation_delay", "0"},
	} {
		if err := setIPv6(name, s.setting, s.value); err != nil {
			return nil, fmt.Errorf("%w: has this kernel IPv6?", err)
		}
	}
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
	if err != nil {
		return nil, fmt.Errorf("network: ICMPv6 socket: %w", err)
	}
	// A set bit keeps a type out (RFC 3542, section 3.2).
	var only unix.ICMPv6Filter
	for i := range only.Data {
		only.Data[i] = ^uint32(0)
	}
	only.Data[typeAdvertisement/32] &^= 1 << (typeAdvertisement % 32)
	err = unix.SetsockoptICMPv6Filter(fd, unix.IPPROTO_ICMPV6, unix.ICMPV6_FILTER, &only)
	if err == nil {
		err = unix.BindToDevice(fd, name)
	}
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, neighbourHops)
	}
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT, 1)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("network: ICMPv6 socket on %s: %w", name, err), unix.Close(fd))
	}
	return &routerListener{file: os.NewFile(uintptr(fd), "icmp6"), index: link.Index}, nil
}

func (r *routerListener) Close() error { return r.file.Close() }

// solicitGap is between two questions for a router (RFC 4861, section 10).
const solicitGap = 4 * time.Second

// solicit asks the routers on the link to advertise themselves. The kernel does
// so when a link comes up, and not in an attempt after that; unasked they may
// say nothing for half an hour. It cannot be sent while the link has no address
// of its own, for a second or so: the kernel's will do then.
func (r *routerListener) solicit(raw syscall.RawConn) error {
	allRouters := &unix.SockaddrInet6{Addr: netip.MustParseAddr("ff02::2").As16(), ZoneId: uint32(r.index)}
	message := make([]byte, 8) // The kernel adds the checksum.
	message[0] = typeSolicitation
	return raw.Control(func(fd uintptr) { _ = unix.Sendto(int(fd), message, unix.MSG_DONTWAIT, allRouters) })
}

// receive waits for an advertisement until ctx ends, and asks for one.
func (r *routerListener) receive(ctx context.Context) (advertisement, error) {
	stop := panics.AfterFunc(ctx, func() { _ = r.file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	raw, err := r.file.SyscallConn()
	if err != nil {
		return advertisement{}, err
	}
	for gap := solicitGap / 4; ; gap = solicitGap {
		if err := r.solicit(raw); err != nil {
			return advertisement{}, err
		}
		if err := r.file.SetReadDeadline(time.Now().Add(gap)); err != nil {
			return advertisement{}, err
		}
		if ctx.Err() != nil {
			return advertisement{}, ctx.Err()
		}
		a, err := r.readAdvertisement(ctx, raw)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return a, err
		}
	}
}

// readAdvertisement waits for an advertisement until the deadline.
func (r *routerListener) readAdvertisement(ctx context.Context, raw syscall.RawConn) (advertisement, error) {
	b, control := make([]byte, 2048), make([]byte, 128)
	for {
		var n, size int
		var from unix.Sockaddr
		var got error
		err := raw.Read(func(fd uintptr) bool {
			n, size, _, from, got = unix.Recvmsg(int(fd), b, control, unix.MSG_DONTWAIT)
			return !errors.Is(got, unix.EAGAIN)
		})
		if ctx.Err() != nil {
			return advertisement{}, ctx.Err()
		}
		if err := errors.Join(err, got); err != nil {
			return advertisement{}, err
		}
		sender, ok := isFromNeighbour(from, control[:size])
		if !ok {
			continue
		}
		if a, ok := parseAdvertisement(b[:n]); ok {
			a.router = sender
			return a, nil
		}
	}
}

// neighbourHops is the hop limit of what comes from a neighbour: each router on
// the way would have made it less.
const neighbourHops = 255

// isFromNeighbour tells who sent a message, and whether that is a neighbour, by what
// RFC 4861, section 6.1.2, wants of an advertisement beside its text: an address
// of the link, and the hop limit. The kernel has checked the checksum.
func isFromNeighbour(from unix.Sockaddr, control []byte) (sender netip.Addr, ok bool) {
	addr, ok := from.(*unix.SockaddrInet6)
	if !ok {
		return sender, false
	}
	sender = netip.AddrFrom16(addr.Addr)
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return sender, false
	}
	for _, m := range messages {
		if m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_HOPLIMIT && len(m.Data) >= 4 {
			return sender, sender.IsLinkLocalUnicast() && binary.NativeEndian.Uint32(m.Data) == neighbourHops
		}
	}
	return sender, false
}

// An advertisement is what a router says of the link.
type advertisement struct {
	router netip.Addr
	// managed: addresses are to be had by DHCPv6; other: other facts are.
	managed, other bool
	// isDefault: the router is one for everywhere.
	isDefault bool
	prefixes  []netip.Prefix // on the link
	dns       []netip.Addr
	search    []string
}

// Of router advertisements (RFC 4861, section 4.2; RFC 8106).
const (
	typeSolicitation  = 133
	typeAdvertisement = 134
	advertisementLen  = 16
	optionPrefix      = 3
	optionRDNSS       = 25
	optionDNSSL       = 31
)

func parseAdvertisement(b []byte) (a advertisement, ok bool) {
	if len(b) < advertisementLen || b[0] != typeAdvertisement || b[1] != 0 {
		return a, false
	}
	a.managed, a.other = b[5]&0x80 != 0, b[5]&0x40 != 0
	a.isDefault = binary.BigEndian.Uint16(b[6:]) != 0
	for b = b[advertisementLen:]; len(b) > 0; {
		if len(b) < 8 {
			return a, false // All options are of whole eights of bytes.
		}
		size := int(b[1]) * 8
		if size == 0 || size > len(b) {
			return a, false
		}
		o := b[:size]
		b = b[size:]
		switch o[0] {
		case optionPrefix:
			if size != 32 || o[3]&0x80 == 0 || o[2] > 128 {
				continue // Not on the link.
			}
			a.prefixes = append(a.prefixes, netip.PrefixFrom(netip.AddrFrom16([16]byte(o[16:32])), int(o[2])))
		case optionRDNSS:
			a.dns = append(a.dns, addrList6(o[8:])...)
		case optionDNSSL:
			a.search = append(a.search, domainNames(o[8:])...)
		}
	}
	return a, true
}

// addrList6 are the addresses in a list of them.
func addrList6(b []byte) (all []netip.Addr) {
	for ; len(b) >= 16; b = b[16:] {
		if a := netip.AddrFrom16([16]byte(b[:16])); !a.IsUnspecified() && !a.IsMulticast() {
			all = append(all, a)
		}
	}
	return all
}

// domainNames are the names in a list as of RFC 1035, section 3.1. Whatever the
// library finds to stumble over ends the list.
func domainNames(b []byte) (all []string) {
	defer func() {
		if recover() != nil {
			all = nil
		}
	}()
	names, err := rfc1035label.FromBytes(b)
	if err != nil {
		return nil
	}
	for _, label := range names.Labels {
		if label = cleanName(label); label != "" {
			all = append(all, label)
		}
	}
	return all
}

// managedTime is what a DHCPv6 server gets where a router promises one, before
// an address by the router alone will do; otherTime what it gets for name
// servers.
const (
	managedTime = 10 * time.Second
	otherTime   = 2 * time.Second
	// routerTime is how long a node with an address by DHCPv6 listens for a
	// router.
	routerTime = 5 * time.Second
)

// getLease6 gets an IPv6 address that can be used, and puts it in place: by the
// kernel from a router's prefix, or by DHCPv6 where the method or the router
// says so. It waits until ctx ends.
func getLease6(ctx context.Context, link *rtnetlink.Link, method Method, router *routerListener, logf func(string, ...any)) (*Lease, error) {
	start := time.Now()
	name := link.Name
	l := &Lease{Device: name, MAC: link.HardwareAddr, Proto: protoRouter}
	if method == MethodDHCP6 {
		if err := getDHCP6Lease(ctx, link, l); err != nil {
			return nil, err
		}
		// Routes, the one to the link itself among them, come from a router only.
		heard, cancel := context.WithTimeout(ctx, routerTime)
		defer cancel()
		if a, err := router.receive(heard); err == nil {
			l.addAdvertised(&a)
		} else {
			logf("%v: nothing beyond this node can be reached", &NoRouterError{Device: name, Waited: routerTime})
		}
		return l, nil
	}
	a, err := router.receive(ctx)
	if err != nil {
		return nil, &NoRouterError{Device: name, Waited: time.Since(start)}
	}
	if a.managed {
		managed, cancel := context.WithTimeout(ctx, managedTime)
		err := getDHCP6Lease(managed, link, l)
		cancel()
		if err == nil {
			l.addAdvertised(&a)
			return l, nil
		}
		if ctx.Err() != nil || len(a.prefixes) == 0 {
			return nil, err
		}
		logf("%v; taking an address from the router alone", err)
	}
	l.addAdvertised(&a)
	if l.Addr, err = routerAddress(ctx, link); err != nil {
		return nil, err
	}
	if a.other && !a.managed {
		other, cancel := context.WithTimeout(ctx, otherTime)
		defer cancel()
		if err := askFacts6(other, link, l); err != nil {
			logf("%v", err)
		}
	}
	return l, nil
}

// addAdvertised notes what a router said, as far as no DHCPv6 server has said it.
func (l *Lease) addAdvertised(a *advertisement) {
	if len(l.DNS) == 0 {
		l.DNS = a.dns
	}
	if len(l.Search) == 0 {
		l.Search = a.search
	}
	if a.isDefault {
		l.Routes = []Route{{Dst: netip.PrefixFrom(netip.IPv6Unspecified(), 0), Gateway: a.router}}
	}
	for _, p := range a.prefixes {
		if l.Addr.IsValid() && p.Contains(l.Addr.Addr()) {
			l.Addr = netip.PrefixFrom(l.Addr.Addr(), p.Bits())
		}
	}
}

// routerAddress waits for the kernel's address from a router's prefix.
func routerAddress(ctx context.Context, link *rtnetlink.Link) (found netip.Prefix, err error) {
	name := link.Name
	err = poll(ctx, 50*time.Millisecond, func() (bool, error) {
		all, err := addresses(link, unix.AF_INET6)
		if err != nil {
			return false, err
		}
		for _, a := range all {
			if a.Prefix.Addr().IsLinkLocalUnicast() || a.Flags&unix.IFA_F_PERMANENT != 0 {
				continue
			}
			if usable, err := isUsable(name, a); usable || err != nil {
				found = a.Prefix
				return usable, err
			}
		}
		return false, nil
	})
	if err != nil && ctx.Err() != nil {
		return found, fmt.Errorf("network: %s: a router advertises itself but no prefix for addresses, and no DHCPv6", name)
	}
	return found, err
}

// isUsable tells whether the kernel knows by now that an address is nobody
// else's. One that is, is an *InUseError.
func isUsable(device string, a rtnetlink.Address) (bool, error) {
	if a.Flags&unix.IFA_F_DADFAILED != 0 {
		return false, &InUseError{Device: device, Addr: a.Prefix.Addr()}
	}
	return a.Flags&unix.IFA_F_TENTATIVE == 0, nil
}

// awaitUsable waits until an address that was given to the link may be used.
func awaitUsable(ctx context.Context, link *rtnetlink.Link, addr netip.Addr) error {
	return awaitAddress(ctx, link, func(a netip.Addr) bool { return a == addr }, addr.String())
}

// awaitLinkLocal waits until the link has its own address.
func awaitLinkLocal(ctx context.Context, link *rtnetlink.Link) error {
	return awaitAddress(ctx, link, netip.Addr.IsLinkLocalUnicast, "its link-local address")
}

func awaitAddress(ctx context.Context, link *rtnetlink.Link, is func(netip.Addr) bool, what string) error {
	ctx, cancel := context.WithTimeout(ctx, usableTime)
	defer cancel()
	name := link.Name
	err := poll(ctx, 20*time.Millisecond, func() (bool, error) {
		all, err := addresses(link, unix.AF_INET6)
		if err != nil {
			return false, err
		}
		for _, a := range all {
			if is(a.Prefix.Addr()) {
				return isUsable(name, a)
			}
		}
		return false, nil
	})
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("network: %s: %s cannot be used after %v", name, what, usableTime)
	}
	return err
}
