package identity

import (
	"net/netip"
	"testing"
)

func TestHosts(t *testing.T) {
	addr := netip.MustParseAddr("10.77.0.11")
	const local, own = "127.0.0.1\tlocalhost\n", "10.77.0.11\tnode11.sidus.test node11 # by sidusboot\n"
	for name, tt := range map[string]struct{ old, host, domain, want string }{
		"none":                  {"", "node11", "sidus.test", "127.0.0.1\tlocalhost # by sidusboot\n" + own},
		"the tree's":            {local + "::1 ip6-localhost\n", "node11", "sidus.test", local + "::1 ip6-localhost\n" + own},
		"no newline at the end": {"127.0.0.1 localhost", "node11", "sidus.test", "127.0.0.1 localhost\n" + own},
		"of an earlier boot":    {local + "10.77.0.99\told # by sidusboot\n192.0.2.1 other\n", "node11", "sidus.test", local + "192.0.2.1 other\n" + own},
		"no domain":             {local, "node11", "", local + "10.77.0.11\tnode11 # by sidusboot\n"},
		"a whole name":          {local, "node11.a.test", "sidus.test", local + "10.77.0.11\tnode11.a.test # by sidusboot\n"},
		"a strange domain":      {local, "node11", "x y/../", local + "10.77.0.11\tnode11 # by sidusboot\n"},
	} {
		t.Run(name, func(t *testing.T) {
			got := Hosts(tt.old, tt.host, tt.domain, addr)
			if got != tt.want {
				t.Errorf("%s: got %q, want %q", name, got, tt.want)
			}
			if again := Hosts(got, tt.host, tt.domain, addr); again != got {
				t.Errorf("%s: written twice: %q", name, again)
			}
		})
	}
}
