package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A ParameterError is a value that was not understood, of a parameter where a guess
// could lose data or boot the wrong tree.
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

// Waits where no parameter gives others.
const (
	defaultTimeout = 60 * time.Second
	defaultLease   = 90 * time.Second
)

// Parse reads the kernel command line and the image's file; the command line
// wins. The Config can be used even with an error, which joins a
// *ParameterError for each value that was not understood: acting on errors needs
// the policy for failures.
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
				c.note("%s=%q is ignored: %v; %s", a.name, a.value, err, w.allowed())
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

// addDefaultIP sets what other parameters mean for ip=.
func (c *Config) addDefaultIP(inFile, inLine map[int][]arg) {
	for i := range c.IPs {
		if c.IPs[i].byBootIF && c.BootIF == nil {
			c.note("ip= names the device BOOTIF, but there is no BOOTIF=: any NIC is used")
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
	// Lists of forbidden modules add up, as for the kernel and modprobe. Any other
	// list on the command line replaces that of the file.
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

// errorFor is an error that says what to write instead.
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

// classify puts each occurrence under the index of its parameter in the table, and
// handles those that are not in the table.
func (c *Config) classify(args []arg) map[int][]arg {
	known := map[int][]arg{}
	for _, a := range args {
		name := canonical(a.name)
		i := parameterIndex(name)
		switch {
		case i >= 0:
			known[i] = append(known[i], a)
		case strings.HasPrefix(name, "sidus."):
			// The value is not shown: it may be a password of a misspelled parameter.
			c.note("%q is not a parameter of sidusboot and is ignored%s", a.name, didYouMean(name))
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

// notModules are first parts of names with a dot that are not names of modules.
var notModules = []string{"rd", "systemd", "udev", "luks", "fsck", "quotacheck", "locale", "vconsole", "plymouth", "live"}

// addModule keeps MODULE.PARAMETER=VALUE until that module is loaded.
func (c *Config) addModule(a arg) {
	module, parameter, dotted := strings.Cut(a.name, ".")
	module = canonical(module)
	if !dotted || !isIdentifier(module) || !isIdentifier(canonical(parameter)) || slices.Contains(notModules, module) {
		return
	}
	if near := nearest(a.name); near != "" {
		c.note("%q is used as a parameter of the kernel module %s; did you mean %s?", a.name, module, near)
	}
	text := parameter
	if a.valued {
		text += "=" + a.value
		// The kernel splits a module's parameters by the rules of the command line.
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
