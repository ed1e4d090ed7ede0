package iscsi

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sidusboot/sidusboot/digest"
)

// maxName is the longest iSCSI name in bytes (RFC 7143, section 4.2.7.2).
const maxName = 223

// NormalizeName checks an iSCSI name and returns it in lower case: names are
// compared after stringprep (RFC 3722), which many targets leave to the
// initiator. Forms: iqn.YYYY-MM.AUTHORITY[:TEXT], eui. and 16 hex digits, naa.
// and 16 or 32 (RFC 7143, section 4.2.7; RFC 3980).
func NormalizeName(name string) (string, error) {
	if !utf8.ValidString(name) {
		return "", fmt.Errorf("%q: is not UTF-8", name)
	}
	name = strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, name)
	if err := checkName(name); err != nil {
		return "", fmt.Errorf("%q: %w", name, err)
	}
	return name, nil
}

func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("is empty")
	case len(name) > maxName:
		return fmt.Errorf("has %d bytes and the limit is %d", len(name), maxName)
	}
	for _, r := range name {
		if r < utf8.RuneSelf && !isAlnum(r) && !strings.ContainsRune("-.:", r) {
			return fmt.Errorf("contains %q: letters, digits, '-', '.' and ':' are allowed", r)
		}
	}
	kind, rest, _ := strings.Cut(name, ".")
	switch kind {
	case "iqn":
		return checkQualified(rest)
	case "eui":
		if len(rest) == 16 && isHex(rest) {
			return nil
		}
		return errors.New("is not eui. and 16 hex digits")
	case "naa":
		if (len(rest) == 16 || len(rest) == 32) && isHex(rest) {
			return nil
		}
		return errors.New("is not naa. and 16 or 32 hex digits")
	}
	return errors.New("does not start with iqn., eui. or naa. and a name")
}

// checkQualified checks what follows "iqn.": the month in which the authority
// owned its domain, and the domain in reverse.
func checkQualified(rest string) error {
	date, rest, _ := strings.Cut(rest, ".")
	if len(date) != 7 || date[4] != '-' || !isDigits(date[:4]) || !isDigits(date[5:]) || date[5:] < "01" || date[5:] > "12" {
		return errors.New("needs a year and a month after iqn., as in iqn.2013-09.org.example:node1")
	}
	authority, text, colon := strings.Cut(rest, ":")
	if authority == "" || authority[0] == '.' || authority[len(authority)-1] == '.' || strings.Contains(authority, "..") {
		return errors.New("needs a reversed domain name after the month, as in iqn.2013-09.org.example:node1")
	}
	if colon && text == "" {
		return errors.New("ends with a colon")
	}
	return nil
}

func isAlnum(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

func isHex(s string) bool {
	return s != "" && strings.Trim(s, "0123456789abcdefABCDEF") == ""
}

// DefaultPort is iSCSI's own port (RFC 7143, section 13).
const DefaultPort = 3260

// A Portal is where a target listens.
type Portal struct {
	Host string
	Port uint16
}

func (p Portal) String() string {
	return net.JoinHostPort(p.Host, strconv.Itoa(int(p.Port)))
}

// ParsePortal reads HOST, HOST:PORT or [IPV6]:PORT, where HOST is a name or an
// address. A portal group tag after a comma, as in TargetAddress, is dropped.
func ParsePortal(text string) (Portal, error) {
	s := text
	if i := strings.LastIndexByte(s, ','); i >= 0 && isDigits(s[i+1:]) {
		s = s[:i]
	}
	var host, port string
	switch {
	case strings.HasPrefix(s, "["):
		end := strings.IndexByte(s, ']')
		if end < 0 || net.ParseIP(zoneless(s[1:end])) == nil {
			return Portal{}, fmt.Errorf("iscsi: portal %q: write an IPv6 address between the brackets", text)
		}
		host, port = s[1:end], s[end+1:]
		if port != "" && port[0] != ':' {
			return Portal{}, fmt.Errorf("iscsi: portal %q: write a colon and a port after the bracket", text)
		}
		port = strings.TrimPrefix(port, ":")
	case strings.Count(s, ":") > 1:
		if net.ParseIP(zoneless(s)) == nil {
			return Portal{}, fmt.Errorf("iscsi: portal %q is not HOST:PORT; write an IPv6 address with a port as [ADDRESS]:PORT", text)
		}
		host = s
	default:
		host, port, _ = strings.Cut(s, ":")
	}
	if !isHost(host) {
		return Portal{}, fmt.Errorf("iscsi: portal %q has no host", text)
	}
	p := Portal{Host: host, Port: DefaultPort}
	if port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return Portal{}, fmt.Errorf("iscsi: portal %q: %q is not a port", text, port)
		}
		p.Port = uint16(n)
	}
	return p, nil
}

func zoneless(address string) string {
	address, _, _ = strings.Cut(address, "%")
	return address
}

func isHost(host string) bool {
	for _, r := range host {
		if !isAlnum(r) && !strings.ContainsRune("-._:%", r) {
			return false
		}
	}
	return host != "" && len(host) <= 253
}

// An ISID is an initiator's part of a session's name.
type ISID [6]byte

// IscsidISID is what open-iscsi's daemon uses for its first session to a
// target. A session under another one changes its name when iscsid takes it
// over, and with that loses its persistent reservations.
var IscsidISID = ISID{0x00, 0x02, 0x3d}

// NodeISID makes the ISID of a node out of its initiator name, so that it is
// the same on every boot. It has the random format (type 10b, RFC 7143, section
// 11.12.5).
func NodeISID(initiator string) ISID {
	sum := digest.SHA256([]byte(initiator))
	isid := ISID{0: 0x80}
	copy(isid[1:], sum)
	return isid
}
