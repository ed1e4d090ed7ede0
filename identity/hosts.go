package identity

import (
	"net/netip"
	"strings"
)

// hostsMark ends the lines that are ours in /etc/hosts. A file that is kept from
// boot to boot may have such a line with another address.
const hostsMark = " # by sidusboot"

// Hosts adds to a hosts(5) a line for the node's own name, and one for localhost
// where there is none. Lines of an earlier boot are replaced.
func Hosts(old, hostname, domain string, addr netip.Addr) string {
	var b strings.Builder
	localhost := false
	for line := range strings.Lines(old) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasSuffix(line, hostsMark) {
			continue
		}
		fields := strings.Fields(line)
		localhost = localhost || len(fields) > 1 && fields[0] == "127.0.0.1"
		b.WriteString(line + "\n")
	}
	if !localhost {
		b.WriteString("127.0.0.1\tlocalhost" + hostsMark + "\n")
	}
	names := hostname
	if domain != "" && !strings.Contains(hostname, ".") && ValidHostname(domain) {
		names = hostname + "." + domain + " " + hostname
	}
	return b.String() + addr.String() + "\t" + names + hostsMark + "\n"
}

// maxHostname is the kernel's limit (sethostname(2), __NEW_UTS_LEN).
const maxHostname = 64

// ValidHostname tells whether a text, which may come from any server, can be a
// node's name: letters, digits, "-", "." and "_" (RFC 1123, section 2.1, allows no
// "_", but sites use it).
func ValidHostname(s string) bool {
	for _, r := range s {
		ok := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.' || r == '_'
		if !ok {
			return false
		}
	}
	return s != "" && len(s) <= maxHostname && s[0] != '-' && s[0] != '.'
}
