package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Names of the node's volume, with its address as in SIDUS, and of the node,
// where no parameter gives others. No two nodes may have the same name, even when
// they were given the same address: a target tells nodes apart by it.
const (
	DefaultTarget    = "iqn.2013-09.org.sidusboot:%i"
	DefaultInitiator = "iqn.2013-09.org.sidusboot:%m"
)

// An ISCSI is where the node's LUN is. Target and Initiator are templates.
type ISCSI struct {
	// Portals are HOST:PORT, with brackets where HOST is an IPv6 address.
	Portals           []string
	Target, Initiator string
	LUN               int
	// User and Password are by what this node proves its identity to the target,
	// UserIn and PasswordIn by what the target proves its own to the node.
	User, Password     string
	UserIn, PasswordIn string
	// CHAP are the algorithms to prove by, best first, of CHAPNames. Empty: MD5.
	CHAP []string
}

// CHAPNames are the algorithms of sidus.iscsi.chap=.
var CHAPNames = []string{"md5", "sha1", "sha256", "sha3-256"}

// Credentials are those that the parameters give.
func (i ISCSI) Credentials() Credentials {
	return Credentials{User: i.User, Password: i.Password, UserIn: i.UserIn, PasswordIn: i.PasswordIn}
}

// String leaves the secrets out.
func (i ISCSI) String() string {
	return fmt.Sprintf("portals=%q target=%q initiator=%q lun=%d user=%q password=%s user_in=%q password_in=%s chap=%q",
		i.Portals, i.Target, i.Initiator, i.LUN, i.User, redact(i.Password), i.UserIn, redact(i.PasswordIn), i.CHAP)
}

// GoString keeps the secrets out of %#v as well.
func (i ISCSI) GoString() string { return "config.ISCSI{" + i.String() + "}" }

func redact(secret string) string {
	if secret == "" {
		return "none"
	}
	return "***"
}

// completePortals gives iSCSI's own port to portals that were given none.
func (c *Config) completePortals() {
	for i, portal := range c.ISCSI.Portals {
		if strings.HasSuffix(portal, ":") {
			c.ISCSI.Portals[i] = portal + "3260"
		}
	}
}

func applyPortal(c *Config, a arg) error {
	for portal := range strings.SplitSeq(a.value, ",") {
		host, port, err := net.SplitHostPort(portal)
		if err != nil {
			host = strings.TrimSuffix(strings.TrimPrefix(portal, "["), "]")
		} else if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return fmt.Errorf("%q is not a port", port)
		}
		if _, err := netip.ParseAddr(host); err != nil {
			if err := checkServer(host); err != nil {
				return err
			}
		}
		// The port may come in a parameter of its own, which is read later.
		c.ISCSI.Portals = append(c.ISCSI.Portals, net.JoinHostPort(host, port))
	}
	return nil
}

// applyPort follows sidus.iscsi.portal in the table.
func applyPort(c *Config, a arg) error {
	n, err := strconv.ParseUint(a.value, 10, 16)
	if err != nil || n == 0 {
		return errors.New("not a port")
	}
	for i, portal := range c.ISCSI.Portals {
		if host, ok := strings.CutSuffix(portal, ":"); ok {
			c.ISCSI.Portals[i] = host + ":" + a.value
		}
	}
	return nil
}

func applyTarget(c *Config, a arg) error {
	c.ISCSI.Target = a.value
	return checkName(a.value)
}

func applyInitiator(c *Config, a arg) error {
	c.ISCSI.Initiator = a.value
	return checkName(a.value)
}

// checkName is for iSCSI names (RFC 3720, 3.2.6.1) that may be templates.
func checkName(s string) error {
	if !strings.HasPrefix(s, "iqn.") && !strings.HasPrefix(s, "eui.") && !strings.HasPrefix(s, "naa.") || !isGraphic(s) {
		return errors.New("not an iSCSI name: those begin with iqn, eui or naa and a dot")
	}
	return checkTemplate(s, false)
}

func applyLUN(c *Config, a arg) error {
	n, err := strconv.ParseUint(a.value, 10, 14)
	if err != nil {
		return errors.New("not a LUN")
	}
	c.ISCSI.LUN = int(n)
	return nil
}

func applyCHAP(c *Config, a arg) error {
	c.ISCSI.CHAP = nil
	for name := range strings.SplitSeq(a.value, ",") {
		switch {
		case !slices.Contains(CHAPNames, name):
			return fmt.Errorf("%q is not an algorithm", name)
		case slices.Contains(c.ISCSI.CHAP, name):
			return fmt.Errorf("%s is given twice", name)
		}
		c.ISCSI.CHAP = append(c.ISCSI.CHAP, name)
	}
	return nil
}
