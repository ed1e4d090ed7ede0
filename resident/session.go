package resident

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sidusboot/sidusboot/iscsi"
	"github.com/sidusboot/sidusboot/rwlayer"
)

// A Session is what another process needs to take the node's session over.
type Session struct {
	Target iscsi.Target
	ID     iscsi.ID
	// Disk is the volume's device number, Key the one it is reserved under.
	Disk uint64
	Key  rwlayer.Key
	// Stamp is that of the file system, if it has one.
	Stamp rwlayer.Stamp
	// Names are for Target.Resolve.
	Names *PortalNames
}

// encode writes it down, a value a line. With secrets false the passwords are
// left out: a logout needs none.
func (s Session) encode(secrets bool) []byte {
	t, id := s.Target, s.ID
	var b []byte
	add := func(key, value string) { b = fmt.Appendf(b, "%s %s\n", key, strconv.Quote(value)) }
	add("session", strconv.FormatUint(uint64(id.Session), 10))
	add("host", strconv.FormatUint(uint64(id.Host), 10))
	add("disk", strconv.FormatUint(s.Disk, 10))
	add("key", strconv.FormatUint(uint64(s.Key), 10))
	add("stamp", string(s.Stamp))
	if s.Names != nil {
		s.Names.encode(add)
	}
	add("name", t.Name)
	add("initiator", t.Initiator)
	add("lun", strconv.FormatUint(t.LUN, 10))
	add("isid", string(t.ISID[:]))
	for _, p := range t.Portals {
		add("portal", p.String())
	}
	for _, a := range t.CHAP {
		add("chap", strconv.Itoa(int(a)))
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

// adopt takes the session over in this process. The root is the one that has
// /sys.
func (s Session) adopt() (*iscsi.Session, error) {
	kernel, err := iscsi.Open("/")
	if err != nil {
		return nil, err
	}
	return kernel.Adopt(s.Target, s.ID)
}

// Timeouts are those of the node's session. A cable that is pulled says nothing,
// but the keeper has to hear of it: the kernel asks after a silence, and breaks
// the connection without an answer.
func Timeouts() iscsi.Timeouts {
	return iscsi.Timeouts{Ping: 5 * time.Second, PingReply: 10 * time.Second}
}

// decodeSession reads what encode wrote.
func decodeSession(text string) (s Session, err error) {
	s.Target.Timeouts = Timeouts()
	s.Names = &PortalNames{}
	s.Target.Resolve = s.Names.LookUp
	for line := range strings.Lines(text) {
		key, quoted, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		value, err := strconv.Unquote(quoted)
		if err != nil {
			return s, fmt.Errorf("session state: the value of %q is damaged", key)
		}
		if err := s.set(key, value); err != nil {
			return s, fmt.Errorf("session state: %s: %w", key, err)
		}
	}
	return s, nil
}

func (s *Session) set(key, value string) error {
	t, id := &s.Target, &s.ID
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
	case "lun", "disk", "key":
		n, err := number(64)
		if err != nil {
			return err
		}
		switch key {
		case "lun":
			t.LUN = n
		case "disk":
			s.Disk = n
		default:
			s.Key = rwlayer.Key(n)
		}
	case "chap":
		n, err := number(8)
		if err != nil {
			return err
		}
		t.CHAP = append(t.CHAP, iscsi.Algorithm(n))
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
	case "stamp":
		s.Stamp = rwlayer.Stamp(value)
	case "dns", "search", "dns6", "known":
		return s.Names.set(key, value)
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
