package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// A BootServer is what sidus.server= says of the host that the kernel came from.
type BootServer struct {
	// Host is a name or an address without brackets: from the parameter, where the
	// loader's URL is in it. Empty: not there.
	Host string
	// Find says that, without a Host, firmware and DHCP are to be asked.
	Find bool
}

// applyServer never puts the value into a message: a URL may have a password in it.
func applyServer(c *Config, a arg) (err error) {
	url, find := strings.CutPrefix(a.value, "boot")
	if find = find && (url == "" || url[0] == ','); !find {
		c.BootServer = BootServer{}
		if strings.Contains(a.value, "://") {
			c.BootServer.Host, err = HostOf(a.value)
		} else {
			c.BootServer.Host, err = parseHost(a.value)
		}
		return err
	}
	c.BootServer = BootServer{Find: true}
	// A loader that does not know its URL writes nothing, or the name of a file.
	if url = strings.TrimPrefix(url, ","); strings.Contains(url, "://") {
		if c.BootServer.Host, err = HostOf(url); err != nil {
			c.note("sidus.server=boot: the loader's URL is not used: %v", err)
		}
	}
	return nil
}

// HostOf returns the host of a URL, SCHEME://[USER[:PASSWORD]@]HOST[:PORT][/PATH]: a
// name, or an address without brackets. Port, user and password are left out, also of
// the error.
func HostOf(url string) (string, error) {
	_, rest, found := strings.Cut(url, "://")
	if !found {
		return "", errors.New("it is not a URL")
	}
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		rest = rest[:end]
	}
	return parseHost(rest[strings.LastIndexByte(rest, '@')+1:])
}

// parseHost reads HOST[:PORT], with brackets around an IPv6 address.
func parseHost(v string) (string, error) {
	host, port, _ := strings.Cut(v, ":")
	if inBrackets, ok := strings.CutPrefix(v, "["); ok {
		host, port, _ = strings.Cut(inBrackets, "]")
		if !strings.Contains(host, ":") || port != "" && port[0] != ':' || !strings.Contains(v, "]") {
			return "", errors.New("an IPv6 host is written [ADDRESS]")
		}
		port = strings.TrimPrefix(port, ":")
	}
	if strings.Trim(port, "0123456789") != "" {
		return "", errors.New("what follows the host is no port")
	}
	if err := checkServer(host); err != nil {
		return "", err
	}
	addr, err := netip.ParseAddr(host)
	if err == nil && (addr.Zone() != "" || addr.IsUnspecified() || addr.IsLoopback() || addr.IsMulticast()) || host[0] == '_' {
		return "", fmt.Errorf("%q is not the name or the address of a server", host)
	}
	return host, nil
}
