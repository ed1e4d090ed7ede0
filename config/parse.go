package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A ParameterError is a value that was not understood where a guess could lose data
// or boot the wrong thing.
type ParameterError struct {
	Parameter, Value string
	// Reason says what is wrong and what is allowed, with an example.
	Reason string
}

func (e *ParameterError) Error() string {
	value := e.Value
	if len(value) > 100 {
		value = value[:100] + "..."
	}
	return fmt.Sprintf("%s=%s: %s", e.Parameter, strconv.Quote(value), e.Reason)
}

// Waits where no word says another.
const (
	defaultTimeout = 60 * time.Second
	defaultLease   = 90 * time.Second
)

// Parse reads the kernel command line and the image's file; the command line
// wins. The Config is usable even with an error, which joins a *WordError for
// each value that was not understood: the policy for failures must be known to
// act on them.
func Parse(cmdline, file string) (Config, error) {
	c := Config{
		RW:        RW{Kind: "tmpfs", Size: "50%", Fallback: "none", Mismatch: "keep", MkFS: "never"},
		Modules:   map[string]string{},
		Blacklist: map[string]bool{},
		Consumed:  map[string]bool{},
	}
	inFile, inLine := c.classify(fileArgs(file)), c.classify(splitArgs(cmdline))

	var errs []error
	for i, w := range parameters {
		if w.apply == nil {
			continue
		}
		for _, a := range w.occurrences(inFile[i], inLine[i]) {
			err := w.apply(&c, a)
			switch {
			case err != nil && w.tolerant:
				c.note("%s=%q ignored: %v; %s", a.name, a.value, err, w.allowed())
			case err != nil:
				errs = append(errs, w.errorFor(a, err))
			}
		}
	}
	c.completePortals()
	c.addDefaultIP(inFile, inLine)
	c.LeaseTimeout = c.Timeout
	if c.Timeout == 0 {
		c.Timeout, c.LeaseTimeout = defaultTimeout, defaultLease
	}
	errs = append(errs, c.readRoots(inFile, inLine)...)
	return c, errors.Join(errs...)
}

// addDefaultIP is for what other parameters mean for ip=.
func (c *Config) addDefaultIP(inFile, inLine map[int][]arg) {
	for i := range c.IPs {
		if c.IPs[i].byBootIF && c.BootIF == nil {
			c.note("ip= names the device BOOTIF, but there is no BOOTIF=: any NIC will do")
		}
	}
	if len(c.IPs) > 0 {
		return
	}
	for _, args := range []map[int][]arg{inFile, inLine} {
		for _, name := range []string{"root", "netroot"} {
			for _, a := range args[parameterIndex(name)] {
				if a.value == "dhcp6" {
					c.IPs = []IP{{Method: MethodDHCP6}}
				}
			}
		}
	}
}

// occurrences returns the occurrences that count.
func (p parameter) occurrences(inFile, inLine []arg) []arg {
	switch all := slices.Concat(inFile, inLine); {
	// Forbidden modules add up, as they do for the kernel and modprobe. Another
	// list on the command line is instead of the file's.
	case p.list && (p.name == "modprobe.blacklist" || len(inLine) == 0):
		return all
	case p.list:
		return inLine
	case len(all) == 0:
		return nil
	default:
		return all[len(all)-1:]
	}
}

// errorFor makes an error that says what to write instead.
func (p parameter) errorFor(a arg, err error) *ParameterError {
	value := a.value
	if p.secret {
		value = "***"
	}
	return &ParameterError{Parameter: a.name, Value: value, Reason: err.Error() + "; " + p.allowed()}
}

func (p parameter) allowed() string {
	return "allowed is " + p.value + ", for example " + p.example
}

// classify puts each occurrence under its word's index in the table, and deals
// with what is not in the table.
func (c *Config) classify(args []arg) map[int][]arg {
	known := map[int][]arg{}
	for _, a := range args {
		name := canonical(a.name)
		i := parameterIndex(name)
		switch {
		case i >= 0:
			known[i] = append(known[i], a)
		case strings.HasPrefix(name, "sidus."):
			// Its value stays out: it may be a password behind a slip of the pen.
			c.note("%q is not a word of sidusboot and is ignored%s", a.name, didYouMean(name))
			c.Consumed[a.name] = true
			continue
		case isISCSI(name):
			c.note("%q is ignored", a.name)
		default:
			if !c.warnOfForeign(name, a) {
				c.addModule(a)
				continue
			}
		}
		c.Consumed[a.name] = true
	}
	return known
}

func didYouMean(name string) string {
	if near := nearest(name); near != "" {
		return "; did you mean " + near + "?"
	}
	return ""
}

// notModules are the first parts of names that have a dot and are no module's.
var notModules = []string{"rd", "systemd", "udev", "luks", "fsck", "quotacheck", "locale", "vconsole", "plymouth", "live"}

// addModule keeps MODULE.PARAMETER=VALUE for when that module is loaded.
func (c *Config) addModule(a arg) {
	module, parameter, dotted := strings.Cut(a.name, ".")
	module = canonical(module)
	if !dotted || !isIdentifier(module) || !isIdentifier(canonical(parameter)) || slices.Contains(notModules, module) {
		return
	}
	if near := nearest(a.name); near != "" {
		c.note("%q is taken for a parameter of the kernel module %s; did you mean %s?", a.name, module, near)
	}
	text := parameter
	if a.valued {
		text += "=" + a.value
		// The kernel cuts a module's parameters by the rules of the command line.
		if strings.ContainsAny(a.value, blanks) {
			text = parameter + `="` + a.value + `"`
		}
	}
	if before := c.Modules[module]; before != "" {
		text = before + " " + text
	}
	c.Modules[module] = text
}

func isIdentifier(s string) bool {
	for i := range len(s) {
		if !isAlnum(s[i]) && s[i] != '_' && s[i] != '.' {
			return false
		}
	}
	return s != ""
}

func (c *Config) note(format string, args ...any) {
	c.Notes = append(c.Notes, fmt.Sprintf(format, args...))
}
