#!/bin/sh
# Writes the program that stands where a built named stands: Debian's named under
# that name, but -V shows the build's own line. named.sh 'arguments of configure'

real=/usr/share/standins/ports/bind/usr/local/sbin/named
quoted=$(printf '%s' "$1" | sed "s/'/'\\\\''/g")
cat <<EOF
#!/bin/bash
# bash, for its exec -a: the process is called what its program is called
for word; do
	if [ "\$word" = -V ]; then
		export built='built by make with  $quoted'
		$real -V | awk '/^built by / { print ENVIRON["built"]; next } { print }'
		exit 0
	fi
done
exec -a /usr/local/sbin/named $real "\$@"
EOF
