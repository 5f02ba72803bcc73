"""The mapping of job.yaml as Airbyte AddFields values: V = {column: Jinja text}"""

F = lambda e: "{{ " + e + " }}"
P, J = "(record['i360__Prospect__r'] or {})", "(record['i360__Project__r'] or {})"
JP = f"({J}.get('i360__Prospect__r') or {{}})"
A = {
    "external_id": "record['Id']",
    "contact_id": f"{P}.get('Id') or {JP}.get('Id') or record['i360core__Account__c']",
    "customer_name": "record['i360core__Contact_Name__c']",
    "name": None,
    "first_name": f"{P}.get('i360__Primary_First_Name__c') or record['i360core__Prospect_First_Name__c'] or {JP}.get('i360__Primary_First_Name__c')",
    "last_name": f"{P}.get('i360__Primary_Last_Name__c') or record['i360core__Prospect_Last_Name__c'] or {JP}.get('i360__Primary_Last_Name__c')",
    "email": f"{P}.get('i360__Primary_Email__c') or record['i360core__Contact_Email__c'] or {JP}.get('i360__Primary_Email__c')",
    "phone": f"{P}.get('i360__Phone_1__c') or {P}.get('i360__Phone_2__c') or record['i360core__Phone_1__c'] or record['i360core__Phone_2__c']",
    "status": f"record['i360core__Result__c'] or {J}.get('i360__Status__c') or {P}.get('i360__Prospect_State__c')",
    **{
        a: f"record['{b}']"
        for a, b in dict(
            line1="i360core__Street_Address__c",
            city="i360core__City__c",
            state="i360core__State_Province__c",
            postal_code="i360core__Zip_Postal_Code__c",
            kind="i360core__Type__c",
            md_account="i360core__Account__c",
            md_salesrep_id="i360core__Sales_Rep_1__c",
            appt_start="i360core__Appointment_Date_Time__c",
            appt_end="i360core__Appointment_End_Date_Time__c",
            appt_id="Id",
        ).items()
    },
    "external_created_at": f"[record['CreatedDate'], {J}.get('CreatedDate') or '', {P}.get('CreatedDate') or ''] | max",
    "external_updated_at": f"[record['LastModifiedDate'], {J}.get('LastModifiedDate') or '', {P}.get('LastModifiedDate') or ''] | max",
}
V = {
    k: F(v) if v else "{{ record['i360core__Contact_Name__c'] }}: {{ record['i360core__Product_Categories__c'] }}"
    for k, v in A.items()
}
V["appt_summary"] = (
    "{{ record['i360core__Contact_Name__c'] }}: {{ record['i360core__Product_Categories__c'] }} - {{ record['i360core__Type__c'] }}"
)
V["phones"] = (
    "{% set o = [] %}{% for x in (record['i360core__Contact_Phone__c'] or '').split(',') if x %}{% set _ = o.append({'name': x.split(':')[0], 'number': x.split(':')[1]}) %}{% endfor %}{{ o }}"
)
V["opportunities"] = (
    "{% set o = [] %}{% for x in (record['i360core__Sales_Appointment_Opportunities__r'] or {}).get('records') or [] %}{% set s = x['i360core__Sales_Opportunity__r'] %}{% set _ = o.append({'id': s['Id'], 'name': s['i360core__Interested_In__c'] ~ ': ' ~ s['Name'], 'result': s['i360core__Result__c'], 'result_detail': s['i360core__Result_Detail__c']}) %}{% endfor %}{{ o }}"
)
