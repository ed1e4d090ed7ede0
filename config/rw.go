package config

import (
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
)

func applyRW(c *Config, a arg) error {
	if a.value == "tmpfs" || a.value == "iscsi" {
		c.RW.Kind = a.value
		return nil
	}
	tag, name, tagged := strings.Cut(a.value, "=")
	switch {
	case tagged && (tag == "LABEL" || tag == "UUID" || tag == "PARTUUID"):
		if name == "" {
			return fmt.Errorf("there is no value after %s=", tag)
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
		return errors.New("it has a control character")
	}
	c.RW.Kind, c.RW.Device = "device", a.value
	return nil
}

func applySize(c *Config, a arg) error {
	if n, ok := strings.CutSuffix(a.value, "%"); ok {
		// tmpfs takes 0% for no limit at all, which would let /rw use all memory of the node.
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
		return errors.New("not a key; use the key in the error message of the node that was refused")
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
		return errors.New("it needs a token: the layer is emptied once for each token, so that the parameter can stay set")
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
