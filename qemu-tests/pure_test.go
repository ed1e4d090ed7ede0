package qemutests

import (
	"flag"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParseEvents(t *testing.T) {
	text := "sidusboot-stage network begin 2.001 0.000\r\n" +
		"[    2.1] kernel noise\r\n" +
		"sidusboot-stage network done 3.250 1.249 eth0  10.77.0.11/24\r\n" +
		"sidusboot-stage nfs failed x 1.0 no number\n" +
		"sidusboot-stage nfs begin 3.251 0.000"
	want := []Event{
		{Stage: "network", State: Begin, Uptime: 2001 * time.Millisecond},
		{Stage: "network", State: Done, Uptime: 3250 * time.Millisecond, Took: 1249 * time.Millisecond, Text: "eth0  10.77.0.11/24"},
	}
	if got := parseEvents(text); !reflect.DeepEqual(got, want) {
		t.Errorf("parseEvents = %+v, want %+v", got, want)
	}
	if got := parseEvents("no line yet"); len(got) != 0 {
		t.Errorf("parseEvents of half a line = %+v, want none", got)
	}
}

// TestAtMostOne gives flags of which one leaves nothing for the others.
func TestAtMostOne(t *testing.T) {
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"none":    {[]string{"--other"}, ""},
		"one":     {[]string{"--other", "--a"}, ""},
		"two":     {[]string{"--b=false", "--a", "--other"}, "--a, --b: give only one of them"},
		"default": {[]string{"--c", "x", "--b"}, "--b, --c: give only one of them"},
	} {
		t.Run(name, func(t *testing.T) {
			f := flag.NewFlagSet("", flag.ContinueOnError)
			f.Bool("a", false, "")
			f.Bool("b", false, "")
			f.String("c", "x", "")
			f.Bool("other", false, "")
			if err := f.Parse(tt.args); err != nil {
				t.Fatal(err)
			}
			got := ""
			if err := AtMostOne(f, "a", "b", "c"); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("AtMostOne: %q, want %q", got, tt.want)
			}
		})
	}
}

func TestAgentAnswer(t *testing.T) {
	const mark = "ABCDEFGH"
	request := string(agentRequest(mark, "echo 'a b'; exit 3"))
	if strings.Contains(request, mark) {
		t.Errorf("request %q holds the mark: its echo would look like an answer", request)
	}
	for name, test := range map[string]struct {
		text, output string
		exit         int
		ok           bool
	}{
		"request":   {text: request},
		"half":      {text: "begin-ABCDEFGH\nhalf"},
		"noEnd":     {text: "begin-ABCDEFGH\nout\nend-ABCDEFGH 3"},
		"echoed":    {text: request + "begin-ABCDEFGH\na b\nend-ABCDEFGH 3\n", output: "a b\n", exit: 3, ok: true},
		"noNewline": {text: "old\nbegin-ABCDEFGH\nno newlineend-ABCDEFGH 0\nmore", output: "no newline", ok: true},
		"other":     {text: "begin-OTHER\nx\nend-OTHER 0\nbegin-ABCDEFGH\nend-ABCDEFGH 1\n", exit: 1, ok: true},
	} {
		t.Run(name, func(t *testing.T) {
			output, exit, ok := agentAnswer(test.text, mark)
			if output != test.output || exit != test.exit || ok != test.ok {
				t.Errorf("agentAnswer(%q) = %q, %d, %t, want %q, %d, %t",
					test.text, output, exit, ok, test.output, test.exit, test.ok)
			}
		})
	}
}

func TestGaneshaConfig(t *testing.T) {
	got := ganeshaConfig(NFSOptions{Exports: []Export{
		{Path: "/srv/a"},
		{Path: "/srv/b", Pseudo: "/b", Access: "RW", Clients: []string{"10.77.0.11", "10.77.0.12"}, Versions: []int{4}},
	}})
	for _, want := range []string{
		"NFS_Protocols = 3, 4;", "Minor_Versions = 0, 1, 2;",
		"Path = \"/srv/a\";\n\tPseudo = \"/srv/a\";", "Access_Type = RO;",
		"Protocols = 4;", "Clients = 10.77.0.11, 10.77.0.12;\n\t\tAccess_Type = RW;", "Access_Type = None;",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("configuration lacks %q:\n%s", want, got)
		}
	}
	only := []Export{{Path: "/srv/a", Versions: []int{3}}}
	if got := offered(only); !reflect.DeepEqual(got, []int{3}) {
		t.Errorf("offered = %v, want [3]", got)
	}
}

func TestDNSMasqArgs(t *testing.T) {
	got := strings.Join(dnsmasqArgs(DHCPOptions{
		Hosts: []DHCPHost{{MAC: MAC(1), Addr: "10.77.0.11", Name: "node11"}}, First: "none",
		RootPath: "nfs:10.77.0.1:/srv", MTU: 1400, Lease: 2 * time.Minute, NextServer: "10.77.0.2",
		Names: map[string]string{"server.test": "10.77.0.1"},
	}), " ")
	for _, want := range []string{
		"--dhcp-host=52:54:00:77:00:01,10.77.0.11,node11,120", "--dhcp-range=10.77.0.0,static,",
		"option:root-path,nfs:10.77.0.1:/srv", "option:mtu,1400", "--dhcp-boot=,,10.77.0.2",
		"--host-record=server.test,10.77.0.1", "--dhcp-option=option:router ",
	} {
		if !strings.Contains(got+" ", want) {
			t.Errorf("arguments lack %q: %s", want, got)
		}
	}
}

func TestProcessTime(t *testing.T) {
	got, err := processTime("7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 150 25 9 9 20 0 3 0 100 0 0")
	if err != nil || got != 1750*time.Millisecond {
		t.Errorf("processTime = %v, %v, want 1.75s", got, err)
	}
	if _, err := processTime("7 (a"); err == nil {
		t.Error("processTime of half a line: no error")
	}
}

func TestQuoted(t *testing.T) {
	got := quoted([]string{"qemu", "-append", "a b", "it's", "", "x=1,y"})
	if want := `qemu -append 'a b' 'it'\''s' '' x=1,y`; got != want {
		t.Errorf("quoted = %s, want %s", got, want)
	}
}

func TestLastLines(t *testing.T) {
	if got := lastLines("a\nb\nc\n\n", 2); got != "b\nc" {
		t.Errorf("lastLines = %q, want b and c", got)
	}
}
