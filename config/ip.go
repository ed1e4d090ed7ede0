package config

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/sidusboot/sidusboot/hostname"
)

// parseIP reads the value of one ip= parameter. The forms are the kernel's and
// klibc's (Documentation/admin-guide/nfs/nfsroot.rst), and the two that
// dracut adds: DEVICE:METHOD[:MTU[:MAC]] and :MTU:MAC behind the seventh
// field. The notes say what was assumed, as the owners of the forms do.
func parseIP(v string) (ip IP, notes []string, err error) {
	// The client identifier may hold colons, so it comes before the fields.
	if id, ok := strings.CutPrefix(v, "dhcp,"); ok {
		ip.ClientID, err = parseClientID(id)
		return ip, nil, err
	}
	fields, err := splitFields(v)
	if err != nil {
		return IP{}, nil, err
	}
	switch first := fields[0]; {
	case len(fields) == 1:
		ip, err = loneIP(first)
	case first != "" && !looksLikeAddr(first):
		ip, err = deviceIP(fields)
	default:
		ip, notes, err = longIP(fields)
	}
	if err != nil {
		return IP{}, nil, err
	}
	return ip, notes, nil
}

// splitFields cuts at the colons that are not between brackets.
func splitFields(v string) ([]string, error) {
	var fields []string
	for {
		end := strings.IndexByte(v, ':')
		if strings.HasPrefix(v, "[") {
			bracket := strings.IndexByte(v, ']')
			if bracket < 0 || bracket+1 < len(v) && v[bracket+1] != ':' {
				return nil, errors.New("an IPv6 address needs a bracket on either side")
			}
			if end = bracket + 1; end == len(v) {
				end = -1
			}
		}
		if end < 0 {
			return append(fields, v), nil
		}
		fields = append(fields, v[:end])
		v = v[end+1:]
	}
}

// looksLikeAddr tells a client address from a device name, so that a mistyped
// address is not taken for a device.
func looksLikeAddr(s string) bool {
	return s[0] == '[' || strings.Trim(s, "0123456789./") == ""
}

// A method as it is written: none and off are static where there is a client
// address, and leave the device alone where there is none.
type writtenMethod int

const (
	writtenUnset writtenMethod = iota
	writtenDHCP
	writtenNone
	writtenStatic
	writtenRouter
	writtenDHCP6
)

func parseMethod(s string) (writtenMethod, error) {
	switch s {
	case "":
		return writtenUnset, nil
	case "dhcp", "on", "any", "auto", "single-dhcp":
		return writtenDHCP, nil
	case "none", "off", "done":
		return writtenNone, nil
	case "static":
		return writtenStatic, nil
	case "auto6", "either6":
		return writtenRouter, nil
	case "dhcp6":
		return writtenDHCP6, nil
	case "bootp", "rarp", "both", "ibft", "frommedia":
		return 0, fmt.Errorf("%s is not supported: use dhcp, or write the address in the parameter", s)
	case "link6", "link-local":
		return 0, fmt.Errorf("%s is not supported: no server can be reached by such an address; use auto6 or dhcp6", s)
	}
	return 0, fmt.Errorf("%q is not a method: the methods are dhcp (also on, any), auto6 and dhcp6 for IPv6, none (also off) and static", s)
}

var errNoClient = errors.New("a static address needs the client address in the first field")

func loneIP(value string) (IP, error) {
	if value != "" && looksLikeAddr(value) {
		return IP{}, errors.New("an address alone has no netmask; write CLIENT::GATEWAY:NETMASK")
	}
	m, err := parseMethod(value)
	if err != nil {
		return IP{}, err
	}
	return m.withoutClient(IP{})
}

// withoutClient is what the method means where no client address is given.
func (m writtenMethod) withoutClient(ip IP) (IP, error) {
	switch m {
	case writtenStatic:
		return IP{}, errNoClient
	case writtenNone:
		ip.Method = MethodOff
	case writtenRouter:
		ip.Method = MethodAuto6
	case writtenDHCP6:
		ip.Method = MethodDHCP6
	default:
		ip.Method = MethodDHCP
	}
	return ip, nil
}

// deviceIP reads dracut's DEVICE:METHOD[:MTU[:MAC]].
func deviceIP(fields []string) (IP, error) {
	var ip IP
	if _, err := parseMethod(fields[0]); err == nil {
		return IP{}, fmt.Errorf("%q is a method, where a device is expected; write %s alone, or DEVICE:%s", fields[0], fields[0], fields[0])
	}
	if err := setDevice(&ip, fields[0]); err != nil {
		return IP{}, err
	}
	method, id, hasID := strings.Cut(fields[1], ",")
	m, err := parseMethod(method)
	if err != nil {
		return IP{}, err
	}
	if hasID {
		if ip.ClientID, err = parseClientID(id); err != nil {
			return IP{}, err
		}
	}
	if rest := fields[2:]; len(rest) > 0 {
		if err := parseLinkTail(&ip, rest); err != nil {
			return IP{}, err
		}
	}
	return m.withoutClient(ip)
}

// longIP reads the form with up to ten fields.
func longIP(fields []string) (ip IP, notes []string, err error) {
	mask, method := "", ""
	for i, f := range fields[:min(len(fields), 7)] {
		if f == "" {
			continue
		}
		switch i {
		case 0:
			ip.Client, err = parseAddr("client", f)
		case 1:
			ip.Server, err = parseAddr("server", f)
		case 2:
			ip.Gateway, err = parseAddr("gateway", f)
		case 3:
			mask = f
		case 4:
			if !hostname.Valid(f) {
				err = fmt.Errorf("%q is not a host name: letters, digits, dots, hyphens and underscores", f)
			}
			ip.Hostname = f
		case 5:
			err = setDevice(&ip, f)
		case 6:
			method = f
		}
		if err != nil {
			return IP{}, nil, err
		}
	}
	if len(fields) > 7 {
		if err := parseTail(&ip, fields[7:]); err != nil {
			return IP{}, nil, err
		}
	}
	if notes, err = setMask(&ip, mask); err != nil {
		return IP{}, nil, err
	}

	method, id, hasID := strings.Cut(method, ",")
	if hasID {
		if ip.ClientID, err = parseClientID(id); err != nil {
			return IP{}, nil, err
		}
	}
	m, err := parseMethod(method)
	if err != nil {
		return IP{}, nil, err
	}
	switch {
	case m == writtenDHCP || m == writtenRouter || m == writtenDHCP6:
		if ip, err = m.withoutClient(ip); err != nil {
			return IP{}, nil, err
		}
	case ip.Client.IsValid():
		ip.Method = MethodStatic
	case m == writtenNone && (ip.Gateway.IsValid() || ip.Bits != 0):
		return IP{}, nil, errNoClient
	default:
		if ip, err = m.withoutClient(ip); err != nil {
			return IP{}, nil, err
		}
	}
	more, err := ip.check()
	if err != nil {
		return IP{}, nil, err
	}
	return ip, append(notes, more...), nil
}

// parseTail reads what follows the method: dracut's MTU[:MAC], or the
// kernel's name servers and time server.
func parseTail(ip *IP, tail []string) error {
	if isNumber(tail[0]) || tail[0] == "" && isMAC(strings.Join(tail[1:], ":")) {
		return parseLinkTail(ip, tail)
	}
	if len(tail) > 3 {
		return errors.New("too many fields; the tenth, the time server, is the last")
	}
	for i, f := range tail {
		if f == "" {
			continue
		}
		addr, err := parseAddr([]string{"first name server", "second name server", "time server"}[i], f)
		if err != nil {
			return err
		}
		if !addr.IsValid() {
			continue
		}
		if i < 2 {
			ip.DNS = append(ip.DNS, addr)
		} else {
			ip.NTP = addr
		}
	}
	return nil
}

// parseLinkTail reads [MTU][:MAC].
func parseLinkTail(ip *IP, tail []string) error {
	if tail[0] != "" {
		mtu, err := parseMTU(tail[0])
		if err != nil {
			return err
		}
		ip.MTU = mtu
	}
	if mac := strings.Join(tail[1:], ":"); strings.Trim(mac, ":") != "" {
		if !isMAC(mac) {
			return fmt.Errorf("%q is not a MAC address such as 52:54:00:12:34:56", mac)
		}
		hw, err := net.ParseMAC(mac)
		if err != nil {
			return err
		}
		ip.MAC = hw
	}
	return nil
}

// parseClientID reads the kernel's TYPE,VALUE into what option 61 holds.
func parseClientID(s string) (string, error) {
	kind, value, ok := strings.Cut(s, ",")
	n, err := strconv.ParseUint(kind, 0, 8)
	// 251 is what the kernel's buffer holds behind the type.
	if !ok || err != nil || value == "" || len(value) > 251 {
		return "", errors.New("a client identifier is written dhcp,TYPE,VALUE with a TYPE from 0 to 255, such as dhcp,0,node7")
	}
	return string([]byte{byte(n)}) + value, nil
}

// setDevice also takes BOOTIF for a device, as Ubuntu's initramfs-tools does
// (MAAS writes ip=::::NAME:BOOTIF): the NIC of BOOTIF=, which is tried first where
// no device is named.
func setDevice(ip *IP, name string) error {
	if strings.EqualFold(name, "BOOTIF") {
		ip.byBootIF = true
		return nil
	}
	ip.Device = name
	return checkDevice(name)
}
