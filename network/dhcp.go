package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"github.com/vishvananda/netlink"
)

// wanted are the options asked for, option 55 of RFC 2132.
var wanted = []dhcpv4.OptionCode{
	dhcpv4.OptionSubnetMask,           // 1
	dhcpv4.OptionRouter,               // 3
	dhcpv4.OptionDomainNameServer,     // 6
	dhcpv4.OptionHostName,             // 12
	dhcpv4.OptionDomainName,           // 15
	dhcpv4.OptionRootPath,             // 17
	dhcpv4.OptionInterfaceMTU,         // 26
	dhcpv4.OptionBroadcastAddress,     // 28
	dhcpv4.OptionNTPServers,           // 42
	dhcpv4.OptionDNSDomainSearchList,  // 119
	dhcpv4.OptionClasslessStaticRoute, // 121
}

// A transaction starts with this time-out, doubles it at each of its tries and
// is then begun anew: 1+2+4+8 = 15 s.
const (
	firstTimeout = time.Second
	tries        = 4
)

// DHCP asks for a lease on the link until it has one or ctx ends; then the
// error is a *NoLeaseError.
func DHCP(ctx context.Context, link netlink.Link) (*Lease, error) {
	start := time.Now()
	attrs := link.Attrs()
	conn, err := nclient4.NewRawUDPConn(attrs.Name, nclient4.ClientPort)
	if err != nil {
		return nil, fmt.Errorf("network: open a packet socket on %s: %w", attrs.Name, err)
	}
	client, err := nclient4.NewWithConn(parsedConn{conn}, attrs.HardwareAddr,
		nclient4.WithTimeout(firstTimeout), nclient4.WithRetry(tries))
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("network: DHCP on %s: %w", attrs.Name, err)
	}
	defer client.Close()
	var last error
	for {
		got, err := client.Request(ctx,
			dhcpv4.WithRequestedOptions(wanted...),
			dhcpv4.WithOption(dhcpv4.OptClassIdentifier("sidusboot")),
			func(d *dhcpv4.DHCPv4) { d.NumSeconds = uint16(min(time.Since(start).Seconds(), 0xffff)) })
		if err == nil {
			lease, err := leaseFrom(got.ACK, attrs)
			if err == nil {
				return lease, nil
			}
			last = err
		} else if nak := (*nclient4.ErrNak)(nil); errors.As(err, &nak) {
			last = err
		}
		if ctx.Err() != nil {
			carrier, _ := HasCarrier(link)
			return nil, &NoLeaseError{Device: attrs.Name, MAC: attrs.HardwareAddr,
				Waited: time.Since(start), Carrier: carrier, Err: last}
		}
		if !errors.Is(err, nclient4.ErrNoResponse) {
			// A refusal comes at once: do not hammer the server.
			select {
			case <-ctx.Done():
			case <-time.After(firstTimeout):
			}
		}
	}
}

// leaseFrom reads an ACK. It is a pure function of what came over the wire:
// nothing in it is trusted to be there or to make sense.
func leaseFrom(ack *dhcpv4.DHCPv4, attrs *netlink.LinkAttrs) (*Lease, error) {
	addr, ok := netip.AddrFromSlice(ack.YourIPAddr.To4())
	if !ok || addr.IsUnspecified() || addr.IsMulticast() || addr.IsLoopback() {
		return nil, fmt.Errorf("the server's answer has no usable address: %v", ack.YourIPAddr)
	}
	l := &Lease{
		Device: attrs.Name, MAC: attrs.HardwareAddr, Proto: "dhcp",
		Domain:     text(ack.DomainName()),
		Hostname:   text(ack.HostName()),
		RootPath:   text(ack.RootPath()),
		BootFile:   text(ack.BootFileName),
		DNS:        addrs(ack.DNS()),
		NTP:        addrs(ack.NTPServers()),
		NextServer: addr4(ack.ServerIPAddr),
		ServerID:   addr4(ack.ServerIdentifier()),
		Broadcast:  addr4(ack.BroadcastAddress()),
		Time:       ack.IPAddressLeaseTime(0),
	}
	bits := classfulBits(addr)
	if mask := ack.SubnetMask(); mask != nil {
		ones, size := mask.Size()
		if size != 32 || ones == 0 {
			return nil, fmt.Errorf("the server's netmask %v is not one", net.IP(mask))
		}
		bits = ones
	}
	l.Addr = netip.PrefixFrom(addr, bits)
	if search := ack.DomainSearch(); search != nil {
		for _, label := range search.Labels {
			if label = text(label); label != "" {
				l.Search = append(l.Search, label)
			}
		}
	}
	if mtu, err := dhcpv4.GetUint16(dhcpv4.OptionInterfaceMTU, ack.Options); err == nil && mtu >= minMTU {
		l.MTU = int(mtu)
	}
	l.Routes = routesFrom(ack)
	return l, nil
}

// minMTU is the least MTU that is taken from option 26. It may be 68 (RFC 2132,
// 5.1), but a node that must reassemble everything is a mistake: every host
// takes 576 bytes (RFC 1122, 3.3.2).
const minMTU = 576

// routesFrom prefers option 121, which overrides option 3 (RFC 3442).
func routesFrom(ack *dhcpv4.DHCPv4) []Route {
	var routes []Route
	for _, r := range ack.ClasslessStaticRoute() {
		dst, ok := netip.AddrFromSlice(r.Dest.IP.To4())
		bits, size := r.Dest.Mask.Size()
		if !ok || size != 32 {
			continue
		}
		route := Route{Dst: netip.PrefixFrom(dst, bits).Masked()}
		if gw := addr4(r.Router); gw.IsValid() && !gw.IsUnspecified() {
			route.Gateway = gw
		}
		routes = append(routes, route)
	}
	if len(routes) > 0 {
		return routes
	}
	for _, gw := range addrs(ack.Router()) {
		return []Route{{Dst: netip.PrefixFrom(netip.IPv4Unspecified(), 0), Gateway: gw}}
	}
	return nil
}

// classfulBits is the netmask that a server means which sends none.
func classfulBits(a netip.Addr) int {
	switch b := a.As4()[0]; {
	case b < 128:
		return 8
	case b < 192:
		return 16
	}
	return 24
}

// text is an option's text without the NULs that some servers add. Control
// characters make it worthless: it is going to be written into files.
func text(s string) string {
	s = strings.TrimRight(s, "\x00")
	for _, r := range s {
		if r < ' ' || r == 0x7f {
			return ""
		}
	}
	return strings.TrimSpace(s)
}

func addr4(ip net.IP) netip.Addr {
	a, ok := netip.AddrFromSlice(ip.To4())
	if !ok || a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}

func addrs(ips []net.IP) []netip.Addr {
	var all []netip.Addr
	for _, ip := range ips {
		if a := addr4(ip); a.IsValid() {
			all = append(all, a)
		}
	}
	return all
}

// A parsedConn drops packets on which the DHCP parser panics. nclient4 reads
// in a goroutine of its own, where nobody recovers, and a panic in PID 1 takes
// the node down.
type parsedConn struct{ net.PacketConn }

func (c parsedConn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := c.PacketConn.ReadFrom(b)
		if err != nil || parses(b[:n]) {
			return n, from, err
		}
	}
}

func parses(b []byte) (ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	_, err := dhcpv4.FromBytes(b)
	return err == nil
}
