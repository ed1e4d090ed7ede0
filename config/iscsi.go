package config

import (
	"fmt"
	"strings"
)

// Names of the node's volume, the IP-named one as SIDUS has it, and of the
// node, where no word gives others. The node's name must be its own even when
// two nodes were given one address: it is what a target tells them apart by.
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
	// User and Password are what this node proves to the target, UserIn and
	// PasswordIn what the target proves to this node.
	User, Password     string
	UserIn, PasswordIn string
	// CHAP are the algorithms to prove by, best first, of CHAPNames. Empty: MD5.
	CHAP []string
}

// CHAPNames are the algorithms of sidus.iscsi.chap=.
var CHAPNames = []string{"md5", "sha1", "sha256", "sha3-256"}

// Credentials are those that the words give.
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
