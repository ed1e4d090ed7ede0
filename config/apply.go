package config

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sidusboot/sidusboot/versions/layout"
)

// The reasons below say what is wrong; Parse adds what is allowed and an
// example from the table.

var errUnknown = errors.New("not known")

func applyIP(c *Config, a arg) error {
	if a.value == "" {
		c.note("ip= is empty: DHCP is used")
	}
	for _, value := range eachFamily(a.value) {
		ip, notes, err := parseIP(value)
		if err != nil {
			return err
		}
		for _, n := range notes {
			c.note("ip=%q: %s", value, n)
		}
		if ip.Method != MethodStatic && ip.Client.IsValid() {
			c.note("ip=%q: the client address in it is ignored: the server chooses the address", value)
		}
		c.IPs = append(c.IPs, ip)
	}
	return nil
}

func applyBootIF(c *Config, a arg) error {
	mac, err := parseBootIF(a.value)
	c.BootIF = mac
	return err
}

func applyNFSOptions(c *Config, a arg) error {
	r, notes, err := makeRoot("", "", strings.TrimPrefix(a.value, "-o "), "")
	c.Notes = append(c.Notes, notes...)
	c.nfsOptions = r
	return err
}

func applyLoad(c *Config, a arg) error {
	names := canonical(a.value)
	if !isIdentifier(strings.ReplaceAll(names, ",", "_")) {
		return errors.New("not names of modules")
	}
	c.Load = append(c.Load, strings.Split(names, ",")...)
	return nil
}

func applyInit(c *Config, a arg) error {
	if !strings.HasPrefix(a.value, "/") {
		return errors.New("it does not begin with /")
	}
	c.Init = a.value
	return nil
}

func applyPanic(c *Config, a arg) error {
	// The kernel reads it with base 0, into an int of 32 bits.
	n, err := strconv.ParseInt(a.value, 0, 32)
	if err != nil {
		return errors.New("not a number")
	}
	seconds := int(n)
	c.Panic = &seconds
	return nil
}

func applyBreak(c *Config, a arg) error {
	c.Break = a.value != "0"
	return nil
}

func applyBlacklist(c *Config, a arg) error {
	for name := range strings.SplitSeq(a.value, ",") {
		if name = canonical(strings.TrimSpace(name)); name != "" {
			c.Blacklist[name] = true
		}
	}
	return nil
}

// setNamed sets a value by its name in the table that its String method uses.
func setNamed[T ~int](to *T, names []string, value string) error {
	i := slices.Index(names, value)
	if i < 0 {
		return errUnknown
	}
	*to = T(i)
	return nil
}

func applyUnion(c *Config, a arg) error {
	return setNamed(&c.Union, unionNames[:], a.value)
}

func applyUsr(c *Config, a arg) error {
	if a.value != "union" && a.value != "direct" {
		return errUnknown
	}
	c.UsrDirect = a.value == "direct"
	return nil
}

func applyFollow(c *Config, a arg) error {
	return setNamed(&c.Follow, followNames[:], a.value)
}

func applySpread(c *Config, a arg) error {
	n, err := strconv.Atoi(a.value)
	if err != nil || n < 0 || n > 86400 {
		return errors.New("not a number of seconds from 0 to 86400")
	}
	c.Spread = time.Duration(n) * time.Second
	return nil
}

func applyTreeVersion(c *Config, a arg) error {
	if err := layout.CheckID(a.value); err != nil {
		return err
	}
	c.TreeVersion = a.value
	return nil
}

func applyRootSpread(c *Config, a arg) error {
	if a.value != "none" && a.value != "hash" {
		return errUnknown
	}
	c.SpreadRoots = a.value == "hash"
	return nil
}

func applyStrict(c *Config, a arg) error {
	if a.value != "0" && a.value != "1" {
		return errUnknown
	}
	c.RefuseWritable = a.value == "1"
	return nil
}

func applyHostname(c *Config, a arg) error {
	if a.value == "" || !isGraphic(a.value) || strings.Contains(a.value, "/") {
		return errors.New("not a host name")
	}
	if strings.Contains(strings.ReplaceAll(a.value, "%%", ""), "%m") {
		return errors.New("%m has colons, which no host name can have; use %I, %i or %u")
	}
	c.Hostname = a.value
	return checkTemplate(a.value, false)
}

func applyLease(c *Config, a arg) error {
	return setNamed(&c.LeaseOwner, ownerNames[:], a.value)
}

func applyFstab(c *Config, a arg) error {
	return setNamed(&c.Fstab, fstabNames[:], a.value)
}

func applyOnError(c *Config, a arg) error {
	return setNamed(&c.OnError, onErrorNames[:], a.value)
}

func applyTimeout(c *Config, a arg) error {
	n, err := strconv.Atoi(a.value)
	if err != nil || n < 5 || n > 3600 {
		return errors.New("not a number of seconds from 5 to 3600")
	}
	c.Timeout = time.Duration(n) * time.Second
	return nil
}

func applyEvents(c *Config, a arg) error {
	tty := strings.TrimPrefix(a.value, "/dev/")
	if tty == "" || strings.Trim(tty, ".") == "" || !isGraphic(tty) || strings.Contains(tty, "/") {
		return errors.New("not the name of a tty")
	}
	c.Events = tty
	return nil
}
