package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/sidusboot/sidusboot/hostname"
)

// Expand replaces what stands for the node in a name: %i its IPv4 address, %I
// the same as 8 hex digits, %m its MAC, %h its host name, %u its SMBIOS UUID,
// and %% a percent sign. A value that the node does not have is an error: two nodes
// must not get the same name because a part of it is empty.
func Expand(template string, l Lease) (string, error) {
	return expand(template, l, false)
}

// expandPath is Expand with the kernel's %s for the address.
func expandPath(template string, l Lease) (string, error) {
	return expand(template, l, true)
}

func expand(template string, l Lease, path bool) (string, error) {
	var b strings.Builder
	rest := template
	for {
		text, after, found := strings.Cut(rest, "%")
		b.WriteString(text)
		if !found {
			return b.String(), nil
		}
		if err := checkSequence(after, path); err != nil {
			return "", fmt.Errorf("template %q: %w", template, err)
		}
		value, err := sequence(after[0], l)
		if err != nil {
			return "", fmt.Errorf("template %q: %w", template, err)
		}
		b.WriteString(value)
		rest = after[1:]
	}
}

// checkTemplate finds at parse time what would be an error of Expand on every node.
func checkTemplate(template string, path bool) error {
	for {
		_, after, found := strings.Cut(template, "%")
		if !found {
			return nil
		}
		if err := checkSequence(after, path); err != nil {
			return err
		}
		template = after[1:]
	}
}

func checkSequence(after string, path bool) error {
	known := "iImhu%"
	if path {
		known += "s"
	}
	if after == "" {
		return errors.New("ends in a single %; write %% for a percent sign")
	}
	if strings.IndexByte(known, after[0]) < 0 {
		return fmt.Errorf("%q is not known; there are %%i %%I %%m %%h %%u, and %%%% for a percent sign", "%"+after[:1])
	}
	return nil
}

func sequence(c byte, l Lease) (string, error) {
	switch c {
	case '%':
		return "%", nil
	case 'i', 'I', 's':
		addr := l.Addr.Unmap()
		if !addr.Is4() || addr.IsUnspecified() {
			return "", fmt.Errorf("%%%c needs an IPv4 address and this node has none", c)
		}
		if c == 'I' {
			return fmt.Sprintf("%08X", addr.As4()), nil
		}
		return addr.String(), nil
	case 'm':
		if len(l.MAC) == 0 {
			return "", errors.New("%m needs a MAC address and this node has none")
		}
		return l.MAC.String(), nil
	case 'h':
		if l.Hostname == "" {
			return "", errors.New("%h needs a host name: set DHCP option 12, or the fifth field of ip=")
		}
		// It comes from the network and goes into paths and target names.
		if !hostname.Valid(l.Hostname) {
			return "", fmt.Errorf("%%h needs a host name of letters, digits, dots, hyphens and underscores, not %q", l.Hostname)
		}
		return l.Hostname, nil
	}
	if err := checkUUID(l.UUID); err != nil {
		return "", err
	}
	return l.UUID, nil
}

// checkUUID refuses UUIDs that many boards report because none was set: their nodes
// would have the same name.
func checkUUID(uuid string) error {
	if uuid == "" {
		return errors.New("%u needs an SMBIOS UUID and this node has none")
	}
	digits := strings.ToLower(strings.ReplaceAll(uuid, "-", ""))
	if strings.Trim(digits, "0123456789abcdef") != "" {
		return fmt.Errorf("%%u needs an SMBIOS UUID of hex digits and dashes, not %q", uuid)
	}
	if strings.Trim(digits, "0") == "" || strings.Trim(digits, "f") == "" || digits == "03000200040005000006000700080009" {
		return fmt.Errorf("%%u needs an SMBIOS UUID of this board's own: boards that have none report %s", uuid)
	}
	return nil
}

func isAlnum(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
