package main

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// revision is the packages' own part of each version.
const revision = "-1"

// described is what git describe --always --dirty says: of a tag, the commits since
// then and the commit, or of the commit alone. A commit can have digits only, so a
// tag begins with v or has a dot in it.
var described = regexp.MustCompile(`^(?:(v[0-9][0-9A-Za-z.]*|[0-9]+\.[0-9A-Za-z.]+)(?:-(alpha|beta|rc)\.?([0-9]+))?(?:-([0-9]+)-g([0-9a-f]+))?|([0-9a-f]{7,40}))(-dirty)?$`)

// debianVersion is the version of the packages that are made of a commit: what git
// describe says of it, in a form that dpkg compares as people do. Without a tag it
// begins with 0 and goes by the time of the commit.
func debianVersion(describe string, commit time.Time) (string, error) {
	m := described.FindStringSubmatch(describe)
	if m == nil {
		return "", fmt.Errorf("version %q: neither a tag such as v1.2 or v1.2-rc1 nor a commit, as git describe prints them: set the version with VERSION=", describe)
	}
	tag, kind, number, since, tagCommit, alone, dirty := m[1], m[2], m[3], m[4], m[5], m[6], m[7]
	var b strings.Builder
	switch {
	case alone != "":
		fmt.Fprintf(&b, "0~%s.%s", commit.UTC().Format("20060102.150405"), alone)
	default:
		b.WriteString(strings.TrimPrefix(tag, "v"))
		// The tilde sorts before the end of the text: 1.2~rc1 is older than 1.2.
		if kind != "" {
			b.WriteString("~" + kind + number)
		}
		if since != "" {
			b.WriteString("+" + since + "." + tagCommit)
		}
	}
	if dirty != "" {
		b.WriteString("+dirty")
	}
	return b.String() + revision, nil
}
