package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Identities are what /init gives a node of its own, each of which can be
// turned off by sidus.identity=.
var Identities = []string{"hostname", "hosts", "resolver", "ntp", "machine-id", "hostid", "initiator", "nvme", "ssh-keys", "entropy"}

// applyIdentity reads all, none, names to have, or names with a minus to leave
// out.
func applyIdentity(c *Config, a arg) error {
	off := map[string]bool{}
	switch a.value {
	case "all":
		c.IdentityOff = nil
		return nil
	case "none":
		for _, name := range Identities {
			off[name] = true
		}
		c.IdentityOff = off
		return nil
	}
	names := strings.Split(a.value, ",")
	leaveOut := strings.HasPrefix(names[0], "-")
	if !leaveOut {
		for _, name := range Identities {
			off[name] = true
		}
	}
	for _, name := range names {
		bare, minus := strings.CutPrefix(name, "-")
		if minus != leaveOut {
			return errors.New("either what to have or what to leave out, not both")
		}
		if !slices.Contains(Identities, bare) {
			return fmt.Errorf("%q is not one of %s", bare, strings.Join(Identities, ", "))
		}
		off[bare] = leaveOut
	}
	c.IdentityOff = off
	return nil
}

// applyMachineID follows sidus.identity in the table.
func applyMachineID(c *Config, _ arg) error {
	if c.IdentityOff == nil {
		c.IdentityOff = map[string]bool{}
	}
	c.IdentityOff["machine-id"] = true
	return nil
}
