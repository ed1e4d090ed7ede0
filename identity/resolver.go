package identity

import (
	"fmt"
	"net/netip"
	"strings"
)

// ResolvConf is a resolv.conf(5).
func ResolvConf(servers []netip.Addr, search []string) string {
	var b strings.Builder
	if len(search) > 0 {
		fmt.Fprintln(&b, "search", strings.Join(search, " "))
	}
	for _, a := range servers {
		fmt.Fprintln(&b, "nameserver", a)
	}
	return b.String()
}

// ResolvedConf tells systemd-resolved the same, see resolved.conf(5).
func ResolvedConf(servers []netip.Addr, search []string) string {
	text := "[Resolve]\nDNS=" + joinAddrs(servers) + "\n"
	if len(search) > 0 {
		text += "Domains=" + strings.Join(search, " ") + "\n"
	}
	return text
}

// TimesyncdConf tells systemd-timesyncd its time servers, see timesyncd.conf(5).
func TimesyncdConf(servers []netip.Addr) string {
	return "[Time]\nNTP=" + joinAddrs(servers) + "\n"
}

func joinAddrs(all []netip.Addr) string {
	texts := make([]string, len(all))
	for i, a := range all {
		texts[i] = a.String()
	}
	return strings.Join(texts, " ")
}
