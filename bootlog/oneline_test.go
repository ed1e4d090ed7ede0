package bootlog

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// hostile has what a console obeys: CSI in both forms, the end of a line and the
// kernel's own prefix, DEL, bytes that are no text, marks for the direction of
// writing, a zero-width space, the separator of lines, a tag.
const hostile = "a\x1b[2Jb\u009b2Jc\x9b2Jd\n<0>e\x7f\xff\u202ef\u2066g\u200fh\u061ci\u200bj\u2028k\U000E0041l\rm\x00n\ufeff é…日 \U0001F642"

// safe tells whether a console shows a text and does nothing else.
func safe(t *testing.T, what, text string) {
	t.Helper()
	if !utf8.ValidString(text) {
		t.Errorf("%s is no UTF-8: %q", what, text)
	}
	for _, r := range text {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Errorf("%s has %U: %q", what, r, text)
			return
		}
	}
}

func TestOneLine(t *testing.T) {
	const want = `a\u001b[2Jb\u009b2Jc\x9b2Jd; <0>e\u007f\xff\u202ef\u2066g\u200fh\u061ci\u200bj\u2028k\U000e0041l\u000dm\u0000n\ufeff é…日 ` + "\U0001F642"
	if got := oneLine(hostile); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// All ways to a console, with what a server may have sent.
func TestSinks(t *testing.T) {
	dir := t.TempDir()
	kmsg, err := os.Create(filepath.Join(dir, "kmsg"))
	if err != nil {
		t.Fatal(err)
	}
	events, err := os.Create(filepath.Join(dir, "events"))
	if err != nil {
		t.Fatal(err)
	}
	log := &Logger{Kmsg: kmsg}
	s := &Stages{Log: log, Report: &Report{}, events: events}
	_ = s.Run("network", func() (string, error) { return hostile, nil })
	_ = s.Run("nfs", func() (string, error) { return "", fmt.Errorf("it is %s", hostile) })
	log.Errorf("refused: %s", hostile)
	log.Errorf("refused: %s", strings.Repeat(hostile, 100)) // Cut, and not within a rune.
	s.Report.Network = Network{Hostname: hostile, DNS: []string{hostile}}
	s.Report.RW.Device = hostile
	s.Report.Failures.Add(hostile)
	if err := s.Report.Write(dir, log); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"kmsg", "events", "boot.json", "boot.log"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !strings.Contains(string(b), "202e") {
			t.Fatalf("%s: %v, %q", name, err, b)
		}
		safe(t, name, string(b))
	}
	b, err := os.ReadFile(filepath.Join(dir, "boot.json"))
	if err != nil || !json.Valid(b) {
		t.Errorf("boot.json: %v: %s", err, b)
	}
}

// Weeks of retries keep their beginning and their end.
func TestHistory(t *testing.T) {
	log := &Logger{Kmsg: discard(t)}
	r := &Report{}
	const weeks = 100000
	for i := range weeks {
		log.Errorf("attempt %d", i)
		r.Failures.Add(fmt.Sprint("attempt ", i))
	}
	for name, text := range map[string]string{"boot.log": log.Text(), "boot.json": r.json()} {
		if len(text) > 64<<10 || !strings.Contains(text, "attempt 0") || !strings.Contains(text, "attempt 99999") || !strings.Contains(text, "not kept") {
			t.Errorf("%s has %d bytes: %.100s", name, len(text), text)
		}
	}
	h := History{keep: 2}
	for i := range 5 {
		h.Add(fmt.Sprint(i))
	}
	if got := strings.Join(h.texts(), ","); got != "0,1,… 1 more, not kept …,3,4" {
		t.Errorf("got %s", got)
	}
}

func discard(t *testing.T) *os.File {
	t.Helper()
	f, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}
