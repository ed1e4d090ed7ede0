package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// Secrets are what the image's secrets file holds: the user and the password by
// which each node logs in to its target.
type Secrets struct {
	// entries have a MATCH as key, each in one spelling.
	entries map[string]Credentials
}

// Credentials are what the two ends of a login prove by CHAP: User and
// Password this node, UserIn and PasswordIn, which may be empty, the target.
type Credentials struct {
	User, Password     string
	UserIn, PasswordIn string
}

// matchDefault stands for every node that no other line is for.
const matchDefault = "default"

// maxSecret is the longest value of a key in a login (RFC 7143, section 6.1).
const maxSecret = 255

// ParseSecrets reads a secrets file: for each node a line
//
//	MATCH USER PASSWORD [USER_IN PASSWORD_IN]
//
// where MATCH is an initiator name, a MAC, an IPv4 address or "default". Fields
// with blanks are in double quotes; a # in front of a field begins a comment.
// Errors name lines and never what is in them: by mistake a password can be
// anywhere.
func ParseSecrets(text string) (Secrets, error) {
	s := Secrets{entries: map[string]Credentials{}}
	first := map[string]int{}
	var errs []error
	number := 0
	for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
		number++
		match, c, err := parseSecret(line)
		if err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w", number, err))
			continue
		}
		if match == "" {
			continue
		}
		if first[match] != 0 {
			errs = append(errs, fmt.Errorf("line %d: is for the same node as line %d: keep one of them", number, first[match]))
			continue
		}
		first[match] = number
		s.entries[match] = c
	}
	if err := errors.Join(errs...); err != nil {
		return Secrets{}, err
	}
	return s, nil
}

// For returns the credentials of the line that fits the node best: the one for
// its initiator name, then for its MAC, then for its address, then the default.
func (s Secrets) For(l Lease, initiator string) (Credentials, bool) {
	for _, match := range []string{strings.ToLower(initiator), l.MAC.String(), l.Addr.Unmap().String(), matchDefault} {
		if c, ok := s.entries[match]; ok {
			return c, true
		}
	}
	return Credentials{}, false
}

// Format keeps the secrets out of whatever is printed.
func (s Secrets) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "secrets of %d nodes", len(s.entries)) }

// Format keeps the secrets out of whatever is printed.
func (c Credentials) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "user=%q password=%s user_in=%q password_in=%s", c.User, redact(c.Password), c.UserIn, redact(c.PasswordIn))
}

// parseSecret reads one line; an empty match means that there is nothing in it.
func parseSecret(line string) (match string, c Credentials, err error) {
	fields, err := secretFields(line)
	switch {
	case err != nil:
		return "", c, err
	case len(fields) == 0:
		return "", c, nil
	case len(fields) != 3 && len(fields) != 5:
		return "", c, fmt.Errorf("has %d fields: write MATCH USER PASSWORD, or MATCH USER PASSWORD USER_IN PASSWORD_IN, with \"quotes\" around a value with blanks", len(fields))
	}
	if match = parseMatch(fields[0]); match == "" {
		return "", c, errors.New("does not begin with an IPv4 address, a MAC, an initiator name (iqn., eui. or naa.; no template) or default: write MATCH USER PASSWORD")
	}
	c.User, c.Password = fields[1], fields[2]
	if len(fields) == 5 {
		c.UserIn, c.PasswordIn = fields[3], fields[4]
	}
	for _, w := range fields {
		switch {
		case w == "":
			return "", c, errors.New("a user or password is empty")
		case len(w) > maxSecret:
			return "", c, fmt.Errorf("a user or password is longer than %d bytes", maxSecret)
		}
	}
	if c.Password == c.PasswordIn {
		return "", c, errors.New("the two passwords are the same: give the target another one")
	}
	return match, c, nil
}

// parseMatch returns a line's MATCH in the spelling of For, or nothing.
func parseMatch(s string) string {
	if s == matchDefault {
		return s
	}
	if addr, err := netip.ParseAddr(s); err == nil {
		if addr.Is4() && !addr.IsUnspecified() {
			return addr.String()
		}
		return ""
	}
	if isMAC(s) {
		return strings.ToLower(strings.ReplaceAll(s, "-", ":"))
	}
	name := strings.ToLower(s)
	if checkName(name) != nil || strings.Contains(name, "%") || len(name) < len("iqn.x") {
		return ""
	}
	return name
}

// secretFields splits a line. A quote inside a field is a character.
func secretFields(line string) ([]string, error) {
	var fields []string
	for {
		line = strings.TrimLeft(line, " \t\r\n")
		if line == "" || line[0] == '#' {
			return fields, nil
		}
		var field string
		if quoted, ok := strings.CutPrefix(line, `"`); ok {
			var closed bool
			if field, line, closed = strings.Cut(quoted, `"`); !closed {
				return nil, errors.New("a quote is not closed")
			}
			if line != "" && !strings.ContainsAny(line[:1], " \t\r\n") {
				return nil, errors.New("a quote is closed inside a field")
			}
		} else {
			end := strings.IndexAny(line, " \t\r\n")
			if end < 0 {
				end = len(line)
			}
			field, line = line[:end], line[end:]
		}
		if strings.IndexFunc(field, isControl) >= 0 {
			return nil, errors.New("has a control character")
		}
		fields = append(fields, field)
	}
}
