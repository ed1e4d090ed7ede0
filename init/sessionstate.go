package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/sidusboot/sidusboot/iscsi"
)

// encodeSession writes down what another process needs to take a session over,
// a value a line. With secrets false the passwords are left out: a logout needs
// none.
func encodeSession(t iscsi.Target, id iscsi.ID, secrets bool) []byte {
	var b []byte
	add := func(key, value string) { b = fmt.Appendf(b, "%s %s\n", key, strconv.Quote(value)) }
	add("session", strconv.FormatUint(uint64(id.Session), 10))
	add("host", strconv.FormatUint(uint64(id.Host), 10))
	add("name", t.Name)
	add("initiator", t.Initiator)
	add("lun", strconv.FormatUint(t.LUN, 10))
	add("isid", string(t.ISID[:]))
	for _, p := range t.Portals {
		add("portal", p.String())
	}
	if secrets && t.User != "" {
		add("user", t.User)
		add("password", string(t.Password))
		if t.UserIn != "" {
			add("user_in", t.UserIn)
			add("password_in", string(t.PasswordIn))
		}
	}
	return b
}

// decodeSession reads what encodeSession wrote.
func decodeSession(text string) (t iscsi.Target, id iscsi.ID, err error) {
	for line := range strings.Lines(text) {
		key, quoted, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		value, err := strconv.Unquote(quoted)
		if err != nil {
			return t, id, fmt.Errorf("session state: the value of %q is damaged", key)
		}
		if err := setSession(&t, &id, key, value); err != nil {
			return t, id, fmt.Errorf("session state: %s: %w", key, err)
		}
	}
	return t, id, nil
}

func setSession(t *iscsi.Target, id *iscsi.ID, key, value string) error {
	number := func(bits int) (uint64, error) { return strconv.ParseUint(value, 10, bits) }
	switch key {
	case "session", "host":
		n, err := number(32)
		if err != nil {
			return err
		}
		if key == "session" {
			id.Session = uint32(n)
		} else {
			id.Host = uint32(n)
		}
	case "lun":
		n, err := number(64)
		if err != nil {
			return err
		}
		t.LUN = n
	case "isid":
		if copy(t.ISID[:], value) != len(t.ISID) {
			return fmt.Errorf("%d bytes", len(value))
		}
	case "portal":
		p, err := iscsi.ParsePortal(value)
		if err != nil {
			return err
		}
		t.Portals = append(t.Portals, p)
	case "name":
		t.Name = value
	case "initiator":
		t.Initiator = value
	case "user":
		t.User = value
	case "password":
		t.Password = iscsi.Secret(value)
	case "user_in":
		t.UserIn = value
	case "password_in":
		t.PasswordIn = iscsi.Secret(value)
	default:
		return errors.New("unknown")
	}
	return nil
}
