package identity

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/sidusboot/sidusboot/network"
)

// Klibc is a lease as klibc's ipconfig leaves it in /run, for live-boot, LTSP,
// open-iscsi and cloud-init, and the path of the file. at is the time since the
// kernel started.
func Klibc(l *network.Lease, at time.Duration) (path, text string) {
	if l.Addr.Addr().Is6() {
		return "/run/net6-" + l.Device + ".conf", klibc6(l)
	}
	return "/run/net-" + l.Device + ".conf", klibc4(l, at)
}

func klibcLine(name, value string) string {
	// As klibc quotes: within single quotes, ' and ! stand outside.
	value = strings.NewReplacer("'", `'\''`, "!", `'\!'`).Replace(value)
	return name + "='" + value + "'\n"
}

// klibc6 is an IPv6 lease with the names that open-iscsi and cloud-init read in
// /run/net6-DEV.conf.
func klibc6(l *network.Lease) string {
	gateway := ""
	if gw := l.Gateway(); gw.IsValid() {
		gateway = gw.String()
	}
	text := klibcLine("DEVICE6", l.Device) + klibcLine("IPV6PROTO", l.Proto) +
		klibcLine("IPV6ADDR", l.Addr.Addr().String()) + klibcLine("IPV6NETMASK", fmt.Sprint(l.Addr.Bits())) +
		klibcLine("IPV6GATEWAY", gateway)
	for i, dns := range l.DNS {
		text += klibcLine(fmt.Sprintf("IPV6DNS%d", i), dns.String())
	}
	return text + klibcLine("IPV6DOMAINSEARCH", strings.Join(l.Search, " "))
}

func orZero(a netip.Addr) string {
	if !a.IsValid() {
		return "0.0.0.0"
	}
	return a.String()
}

// klibc4 is an IPv4 lease.
func klibc4(l *network.Lease, at time.Duration) string {
	var b strings.Builder
	set := func(name, value string) { b.WriteString(klibcLine(name, value)) }
	mask := net.IP(net.CIDRMask(l.Addr.Bits(), 32)).String()
	broadcast := l.Broadcast
	if !broadcast.IsValid() {
		broadcast = lastAddr(l.Addr)
	}
	set("DEVICE", l.Device)
	set("PROTO", l.Proto)
	set("IPV4ADDR", orZero(l.Addr.Addr()))
	set("IPV4BROADCAST", orZero(broadcast))
	set("IPV4NETMASK", mask)
	// With option 121 klibc leaves the gateway out; LTSP looks for it there.
	set("IPV4GATEWAY", orZero(l.Gateway()))
	for i, r := range l.Routes {
		set(fmt.Sprintf("IPV4ROUTE%dSUBNET", i), r.Dst.String())
		set(fmt.Sprintf("IPV4ROUTE%dGATEWAY", i), orZero(r.Gateway))
	}
	for i := range 2 {
		var dns netip.Addr
		if i < len(l.DNS) {
			dns = l.DNS[i]
		}
		set(fmt.Sprintf("IPV4DNS%d", i), orZero(dns))
	}
	set("HOSTNAME", l.Hostname)
	set("DNSDOMAIN", l.Domain)
	set("NISDOMAIN", "")
	server := l.NextServer
	if !server.IsValid() {
		server = l.ServerID
	}
	set("ROOTSERVER", orZero(server))
	set("ROOTPATH", l.RootPath)
	set("filename", l.BootFile)
	set("UPTIME", fmt.Sprint(int(at.Seconds())))
	set("DHCPLEASETIME", fmt.Sprint(int(l.Time.Seconds())))
	set("DOMAINSEARCH", strings.Join(l.Search, " "))
	return b.String()
}

// lastAddr is the last address of an IPv4 network, its broadcast address.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().As4()
	for bit := p.Bits(); bit < 32; bit++ {
		b[bit/8] |= 1 << (7 - bit%8)
	}
	return netip.AddrFrom4(b)
}
