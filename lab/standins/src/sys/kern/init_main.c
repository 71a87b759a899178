/* Where a kernel begins: it can be linked and looked into; nothing here runs it. */
void	btext(void);

void
btext(void)
{
	for (;;)
		continue;
}
