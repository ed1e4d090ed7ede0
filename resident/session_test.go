package resident

import (
	"slices"
	"strings"
	"testing"
)

// What is handed to the keeper comes out as it went in, and the shutdown's copy
// holds no secret.
func TestSessionState(t *testing.T) {
	state := testSession(t)
	target := state.Target
	s, err := decodeSession(string(state.encode(true)))
	got := s.Target
	if err != nil || s.ID != state.ID || s.Disk != state.Disk || s.Key != state.Key || got.Name != target.Name ||
		got.Password != target.Password || got.PasswordIn != target.PasswordIn ||
		got.ISID != target.ISID || !slices.Equal(got.CHAP, target.CHAP) || len(got.Portals) != 2 || got.Portals[1] != target.Portals[1] || got.LUN != 7 {
		t.Errorf("got %+v, %v", s, err)
	}
	public := string(state.encode(false))
	for _, secret := range []string{string(target.Password), string(target.PasswordIn)} {
		if strings.Contains(public, secret) {
			t.Error("the shutdown's copy holds a secret")
		}
	}
	for _, text := range []string{"name", "name x", "lun \"x\"", "isid \"ab\"", "portal \":::\"", "other \"x\"", "session \"-1\""} {
		t.Run(text, func(t *testing.T) {
			if _, err := decodeSession(text + "\n"); err == nil || strings.Contains(err.Error(), "secret") {
				t.Errorf("decodeSession(%q) = %v, want an error", text, err)
			}
		})
	}
}
