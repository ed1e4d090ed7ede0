//go:build qemu

package qemutests

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// The user that the LDAP server of TestSiteLDAP has, and nobody else.
const (
	ldapUser, ldapPassword = "marie", "geheim geheim"
	ldapUID                = 5001
)

// TestSiteLDAP boots a node of a tree that the scripts of examples/site have made for a
// site with an LDAP server: its users are known, they log in by its passwords, their home
// directories are mounted then, and have the limits of the site.
func TestSiteLDAP(t *testing.T) {
	t.Parallel()
	Soak(t)
	for _, suite := range Suites {
		for _, by := range []string{"sssd", "nslcd"} {
			t.Run(suite+", "+by, func(t *testing.T) {
				t.Parallel()
				s := newSiteOf(t, ldapVariant(t, suite, by))
				s.ldap()
				homes := t.TempDir()
				home := filepath.Join(homes, ldapUser)
				if err := os.Mkdir(home, 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.Chown(home, ldapUID, ldapUID); err != nil {
					t.Fatal(err)
				}
				_, err := s.StartNFS(s.ctx, NFSOptions{Exports: []Export{{Path: s.tree}, {Path: homes, Pseudo: "/srv/homes", Access: "RW"}}})
				if err != nil {
					t.Fatal(err)
				}
				s.dhcp(DHCPOptions{Domain: "sidus.test"})
				g := s.boot(s.root("vers=3 ")+EventParam+" "+AgentParam, GuestOptions{})
				checkSystemd(s, g, nil)
				// Nobody who is no root and knows the password.
				login := func(password, command string) string {
					return fmt.Sprintf("echo '%s' | setpriv --reuid=65534 --regid=65534 --clear-groups su - %s -c '%s' 2>/dev/null", password, ldapUser, command)
				}
				s.same(g, []answer{
					{"getent passwd " + ldapUser + " | cut -d: -f 1,3-", "marie:5001:5001:Marie:/home/marie:/bin/bash"},
					{"getent group site | cut -d: -f 1,3", "site:5001"},
					{"id -un 5001", ldapUser},
					{"awk '$2 == \"/home\" && $3 == \"autofs\" { print $3 }' /proc/mounts", "autofs"},
					{login("wrong", "echo in") + " || :", ""},
					{login(ldapPassword, "pwd; id -u; stat -f -c %T .; ulimit -l; ulimit -s; ulimit -n; echo written >file"), "/home/marie\n5001\nnfs\nunlimited\nunlimited\n65536"},
					{"awk '$2 == \"/home\" && $3 != \"autofs\" { print $1, $3 }' /proc/mounts", ServerAddr + ":/srv/homes nfs4"},
					{"stat -c %a /etc/sssd/sssd.conf /etc/nslcd.conf 2>/dev/null | tr -d '\\n' | sed 's/^6[04]0$/private/'", "private"},
				})
				info, err := os.Stat(filepath.Join(home, "file"))
				if err != nil {
					t.Fatal(err)
				}
				if owner := info.Sys().(*syscall.Stat_t).Uid; owner != ldapUID {
					t.Errorf("the file that the user wrote belongs to %d, want %d", owner, ldapUID)
				}
			})
		}
	}
}

// ldapVariant is a tree as examples/site/3-local makes it, with the packages that
// 2-packages would install. It has the certificates of the LDAP server, too.
func ldapVariant(t *testing.T, suite, by string) Variant {
	t.Helper()
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join("../examples/site", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	line := regexp.MustCompile(`(?m)^` + by + `\) .* --no-install-recommends (.*) ;;$`).FindStringSubmatch(read("2-packages"))
	if line == nil {
		t.Fatalf("examples/site/2-packages installs nothing for %s", by)
	}
	packages := slices.DeleteFunc(strings.Fields(line[1]), func(name string) bool { return strings.HasSuffix(name, "-") })
	return Variant{Suite: suite, Packages: append([]string{"locales", "ca-certificates", "openssl"}, packages...), Script: `
umask 022
mkdir /root/ldap /tmp/site /tmp/base
cd /root/ldap
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj '/CN=authority of the test' -keyout ca.key -out ca.crt
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj '/CN=ldap' -keyout server.key -out server.csr
echo 'subjectAltName=IP:` + ServerAddr + `' >extensions
openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -extfile extensions -out server.crt
chmod 644 *.key
ln -s / /tmp/base/staging
printf '#!/bin/sh\nexec "$@"\n' >/tmp/site/in-tree
cat >/tmp/site/3-local <<'END OF SCRIPT'
` + read("3-local") + `END OF SCRIPT
cat >/tmp/site/site.conf <<'END OF SCRIPT'
` + read("site.conf") + `
BASE=/tmp/base SSH_KEY= HOMES=` + ServerAddr + `:/srv/homes
LDAP=ldaps://` + ServerAddr + ` LDAP_BY=` + by + ` LDAP_CA=/root/ldap/ca.crt
END OF SCRIPT
chmod 755 /tmp/site/*
/tmp/site/3-local
rm -r /tmp/site /tmp/base
`}
}

// ldap starts Debian's LDAP server in the lab, with the certificate that the site's tree
// has for it.
func (s *site) ldap() {
	s.t.Helper()
	tree, err := (Variant{Suite: "bookworm", Packages: []string{"slapd"}}).Tree(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	root := s.view("ldap", tree)
	if _, err := s.Output(s.ctx, "sh", "-euc", `
cd "$1"
cp "$2"/root/ldap/ca.crt "$2"/root/ldap/server.* etc/ldap
mkdir var/lib/ldap/test
cat >etc/ldap/test.ldif <<END
dn: dc=cluster,dc=example
objectClass: dcObject
objectClass: organization
o: cluster
dc: cluster

dn: uid=`+ldapUser+`,dc=cluster,dc=example
objectClass: account
objectClass: posixAccount
uid: `+ldapUser+`
cn: Marie
gecos: Marie
uidNumber: 5001
gidNumber: 5001
homeDirectory: /home/`+ldapUser+`
loginShell: /bin/bash
userPassword: `+ldapPassword+`

dn: cn=site,dc=cluster,dc=example
objectClass: posixGroup
cn: site
gidNumber: 5001
END
cat >etc/ldap/test.conf <<END
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/nis.schema
modulepath /usr/lib/ldap
moduleload back_mdb
TLSCACertificateFile /etc/ldap/ca.crt
TLSCertificateFile /etc/ldap/server.crt
TLSCertificateKeyFile /etc/ldap/server.key
database mdb
maxsize 10485760
suffix dc=cluster,dc=example
directory /var/lib/ldap/test
access to attrs=userPassword by anonymous auth by * none
access to * by * read
END
chroot . slapadd -f /etc/ldap/test.conf -l /etc/ldap/test.ldif
`, "ldap", root, s.tree); err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.Start(s.ctx, Program{
		Name:  "slapd",
		Argv:  []string{"chroot", root, "slapd", "-f", "/etc/ldap/test.conf", "-h", "ldaps://" + ServerAddr + "/", "-d", "0"},
		Ready: s.listening(636),
	}); err != nil {
		s.t.Fatal(err)
	}
}

// view is a directory of the lab with a tree whose programs can run there, and write. It
// is not the tree itself.
func (s *site) view(name, tree string) string {
	s.t.Helper()
	dir := filepath.Join(labDir, name)
	if _, err := s.Output(s.ctx, "sh", "-euc", `
mkdir -p "$1/upper" "$1/work" "$1/root"
mount -t overlay -o "lowerdir=$2,upperdir=$1/upper,workdir=$1/work" overlay "$1/root"
mount -t proc proc "$1/root/proc"
mount -t tmpfs tmpfs "$1/root/run"
`, "view", dir, tree); err != nil {
		s.t.Fatal(err)
	}
	return filepath.Join(dir, "root")
}
