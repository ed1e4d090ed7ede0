package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path"
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
			c.note("ip=%q: the client address is left to the server", value)
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
		return errors.New("not a path that begins with /")
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

func applyRW(c *Config, a arg) error {
	if a.value == "tmpfs" || a.value == "iscsi" {
		c.RW.Kind = a.value
		return nil
	}
	tag, name, tagged := strings.Cut(a.value, "=")
	switch {
	case tagged && (tag == "LABEL" || tag == "UUID" || tag == "PARTUUID"):
		if name == "" {
			return fmt.Errorf("nothing stands behind %s=", tag)
		}
		if err := checkTemplate(name, false); err != nil {
			return err
		}
	case strings.HasPrefix(a.value, "/dev/"):
		if path.Clean(a.value) != a.value {
			return errors.New("not a plain path below /dev")
		}
	default:
		return errUnknown
	}
	if strings.IndexFunc(a.value, isControl) >= 0 {
		return errors.New("it holds a control character")
	}
	c.RW.Kind, c.RW.Device = "device", a.value
	return nil
}

func applySize(c *Config, a arg) error {
	if n, ok := strings.CutSuffix(a.value, "%"); ok {
		// tmpfs takes 0% for no limit at all, which would let /rw eat the node.
		if p, err := strconv.Atoi(n); err != nil || !isNumber(n) || p < 1 || p > 100 {
			return errors.New("not from 1% to 100%")
		}
		c.RW.Size = a.value
		return nil
	}
	digits := strings.TrimRight(a.value, "kKmMgGtT")
	shift := 0
	if unit := strings.ToLower(a.value[len(digits):]); unit != "" {
		if len(unit) != 1 {
			return errors.New("not a size")
		}
		shift = 10 * (strings.Index("kmgt", unit) + 1)
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || !isNumber(digits) || n > 1<<62>>shift {
		return errors.New("not a size")
	}
	if n<<shift < 1<<20 {
		return errors.New("less than 1m; without a letter it is a number of bytes")
	}
	c.RW.Size = a.value
	return nil
}

func applyFallback(c *Config, a arg) error {
	if a.value != "none" && a.value != "tmpfs" {
		return errUnknown
	}
	c.RW.Fallback = a.value
	return nil
}

func applyTakeover(c *Config, a arg) error {
	digits, ok := strings.CutPrefix(a.value, "0x")
	key, err := strconv.ParseUint(digits, 16, 64)
	if !ok || err != nil || key == 0 {
		return errors.New("not a key as the message of the node that was refused has it")
	}
	c.RW.Takeover = key
	return nil
}

func applyAdopt(c *Config, a arg) error {
	if a.value == "" || strings.IndexFunc(a.value, isControl) >= 0 {
		return errUnknown
	}
	c.RW.Adopt = a.value
	return nil
}

func applyMismatch(c *Config, a arg) error {
	switch a.value {
	case "keep", "archive", "reset", "stop":
		c.RW.Mismatch = a.value
		return nil
	}
	return errUnknown
}

// maxToken is how long a token of sidus.rw.reset= may be: it is saved on the volume.
const maxToken = 64

func applyReset(c *Config, a arg) error {
	if a.value == "" {
		return errors.New("it needs a token: the layer is emptied once for each token, so that the parameter can stay where it is")
	}
	foreign := func(r rune) bool { return r >= 0x80 || !isAlnum(byte(r)) && !strings.ContainsRune("._:-", r) }
	if len(a.value) > maxToken || strings.ContainsFunc(a.value, foreign) {
		return fmt.Errorf("not a token of at most %d characters", maxToken)
	}
	c.RW.Reset = a.value
	return nil
}

func applyMkFS(c *Config, a arg) error {
	if a.value != "never" && a.value != "blank" {
		return errUnknown
	}
	c.RW.MkFS = a.value
	return nil
}

// setNamed sets what a word names, by the table that its String uses.
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

func applyTreeVersion(c *Config, a arg) error {
	if err := layout.CheckID(a.value); err != nil {
		return err
	}
	c.TreeVersion = a.value
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
		// Not every word is read yet: the port may come in its own.
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
			return fmt.Errorf("%q is no algorithm", name)
		case slices.Contains(c.ISCSI.CHAP, name):
			return fmt.Errorf("%s is there twice", name)
		}
		c.ISCSI.CHAP = append(c.ISCSI.CHAP, name)
	}
	return nil
}
